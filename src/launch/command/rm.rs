//! `updater-launch rm`

use clap::Args;

use crate::launch::lifecycle::{containers, traces};
use crate::launch::place::Place;
use crate::launch::storage::users;
use crate::launch::storage::writable::Discarded;
use crate::launch::{Error, say};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Stop containers that run
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Seconds before SIGKILL, instead of the container's own
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// Files with IDs of containers
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Vec<PathBuf>,
    /// A container or cidfile that is not there is no error
    #[arg(short, long)]
    pub(crate) ignore: bool,
    /// Remove the container's anonymous volumes, too
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// Names, or IDs, or the beginnings of such
    #[arg(required_unless_present = "cidfile")]
    pub(crate) containers: Vec<String>,
}

pub(crate) fn remove(place: &Place, flags: &Remove) -> Result<u8, Error> {
    let records = containers::select(place, &flags.containers, &flags.cidfile, flags.ignore)?;
    for record in records.iter().filter(|record| record.is_running()) {
        if !flags.force {
            return Err(Error::Running(record.name.clone()));
        }
        containers::stop(record, flags.time)?;
    }
    place.enter()?;
    traces::reconcile(place);
    for record in records {
        if flags.volumes {
            users::discard_anonymous(place, &record).into_iter().for_each(Discarded::remove);
        }
        containers::clear_away(place, &record)?.into_iter().for_each(Discarded::remove);
        say(&record.name)?;
    }
    Ok(0)
}
