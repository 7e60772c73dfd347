//! `updater-launch rm`

use clap::Args;

use crate::launch::lifecycle::selection::{Selected, Selection, each};
use crate::launch::lifecycle::{containers, traces};
use crate::launch::place::Place;
use crate::launch::storage::users;
use crate::launch::storage::writable::Discarded;
use crate::launch::{Error, network};
use crate::model::failure::chain;

/// Podman's statuses (podman-rm(1)): one that is not there; one that runs.
const NOT_THERE: u8 = 1;
const RUNNING: u8 = 2;

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Stop containers that run
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Seconds before SIGKILL, instead of the container's own
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// A container or cidfile that is not there is no error
    #[arg(short, long)]
    pub(crate) ignore: bool,
    /// Remove the container's anonymous volumes, too
    #[arg(short, long)]
    pub(crate) volumes: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

pub(crate) fn remove(place: &Place, flags: &Remove) -> Result<u8, Error> {
    let found = flags.selection.find(place, flags.ignore, |_| true)?;
    let stopped = found.into_iter().map(|found| found.and_then(|one| stopped(one, flags)));
    let stopped: Vec<_> = stopped.collect();
    place.enter()?;
    traces::reconcile(place);
    let removed = each(stopped, |selected| {
        if flags.volumes {
            let anonymous = users::discard_anonymous(place, &selected.record);
            anonymous.into_iter().for_each(Discarded::remove);
        }
        let discarded = containers::clear_away(place, &selected.record)?;
        discarded.into_iter().for_each(Discarded::remove);
        Ok(())
    });
    // Those of containers that had outlived their launchers.
    network::reconcile(place);
    let status = match &removed {
        Err(Error::NoSuchContainer(_)) => NOT_THERE,
        Err(Error::Running(_)) => RUNNING,
        _ => return removed,
    };
    if let Err(error) = removed {
        eprintln!("Error: {}", chain(&error));
    }
    Ok(status)
}

fn stopped(selected: Selected, flags: &Remove) -> Result<Selected, Error> {
    if selected.record.is_running() {
        if !flags.force {
            return Err(Error::Running(selected.record.name));
        }
        containers::stop(&selected.record, flags.time)?;
    }
    Ok(selected)
}
