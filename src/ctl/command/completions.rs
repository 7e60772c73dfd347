//! `updaterctl completions` and `updaterctl man`

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Output;
use crate::ctl::Error;
use crate::ctl::args::Arguments;
use crate::ctl::exit;

pub(super) fn shell(shell: Shell) -> Output {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "updaterctl", &mut text);
    Output::new(String::from_utf8_lossy(&text), exit::DONE)
}

pub(super) fn manual() -> Result<Output, Error> {
    Ok(Output::new(crate::ctl::manual::page()?, exit::DONE))
}
