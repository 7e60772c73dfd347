//! `updater-launch logs`: asks the journal, which has what containers wrote.

use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;

use crate::launch::Error;
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only so many of the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// Show times
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Name or ID of the container
    pub(crate) container: String,
}

/// Becomes `journalctl`.
pub(crate) fn show(place: &Place, flags: &Logs) -> Result<u8, Error> {
    let record = containers::find(place, &flags.container)?;
    if record.log_driver != "journald" {
        return Err(Error::NoLogs { name: record.name, driver: record.log_driver });
    }
    let mut journalctl = Command::new("journalctl");
    let format = if flags.timestamps { "short-iso-precise" } else { "cat" };
    journalctl.args(["--quiet", "--no-pager", "--output", format]);
    match flags.tail {
        Some(lines) => journalctl.arg(format!("--lines={lines}")),
        None => journalctl.arg("--lines=all"),
    };
    if flags.follow {
        journalctl.arg("--follow");
    }
    journalctl.arg(format!("CONTAINER_ID_FULL={}", record.id));
    Err(Error::system("run journalctl, which has the containers' output", journalctl.exec()))
}
