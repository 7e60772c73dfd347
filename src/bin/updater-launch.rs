//! The container launcher: `updater-launch run …`.

use std::process::ExitCode;

use clap::Parser;
use updaterd::launch::{self, command::Arguments};

fn main() -> ExitCode {
    launch::main(Arguments::try_parse().unwrap_or_else(|error| launch::refuse(&error)))
}
