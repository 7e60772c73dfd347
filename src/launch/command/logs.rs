//! `updater-launch logs`: asks the journal, which has what containers wrote.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::launch::Error;
use crate::launch::args::Logs;
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;

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
