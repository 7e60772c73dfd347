//! `updater-launch completion`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Arguments;
use crate::launch::{Error, print};

#[derive(Debug, Args)]
pub(crate) struct Completion {
    shell: Shell,
}

/// Prints the script that completes this program's command lines.
pub(crate) fn completion(flags: &Completion) -> Result<u8, Error> {
    let mut text = Vec::new();
    clap_complete::generate(flags.shell, &mut Arguments::command(), "updater-launch", &mut text);
    print(String::from_utf8_lossy(&text))?;
    Ok(0)
}
