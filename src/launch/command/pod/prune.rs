//! `updater-launch pod prune`

use std::io::{IsTerminal, Write};

use clap::Args;

use crate::launch::place::Place;
use crate::launch::pod::members::{self, Status};
use crate::launch::pod::store::Pods;
use crate::launch::{Error, say};

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn prune(place: &Place, flags: &Prune) -> Result<u8, Error> {
    if !flags.force && !is_wanted()? {
        return Ok(0);
    }
    for pod in Pods::open(place).all()? {
        let members = members::of(place, &pod)?;
        let status = members::status(place, &pod, &members)?;
        let runs = members.iter().any(|record| record.is_running());
        if status == Status::Exited && !runs {
            members::remove(place, &pod, false, None)?;
            say(&pod.id)?;
        }
    }
    Ok(0)
}

/// Asks a person; where there is none, nothing is removed.
fn is_wanted() -> Result<bool, Error> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("WARNING! This will remove all pods that do not run.\nContinue? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Error::system("read the answer", error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
