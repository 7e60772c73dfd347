//! `updater-launch pod prune`

use clap::Args;

use crate::launch::command::confirm::confirm;
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
    if !flags.force && !confirm("This will remove all pods that do not run.")? {
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
