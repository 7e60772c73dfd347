//! The container launcher: `updater-launch run …`.

use std::process::ExitCode;

use updaterd::launch::{self, command::Arguments};

fn main() -> ExitCode {
    launch::main(
        Arguments::read(std::env::args_os()).unwrap_or_else(|error| launch::refuse(&error)),
    )
}
