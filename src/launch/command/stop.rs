//! `updater-launch stop`

use clap::Args;

use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::{Error, say};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds before SIGKILL, instead of the container's own
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// Files with IDs of containers
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Vec<PathBuf>,
    /// A container or cidfile that is not there is no error
    #[arg(short, long)]
    pub(crate) ignore: bool,
    /// Names, or IDs, or the beginnings of such
    #[arg(required_unless_present = "cidfile")]
    pub(crate) containers: Vec<String>,
}

pub(crate) fn stop(place: &Place, flags: &Stop) -> Result<u8, Error> {
    for record in containers::select(place, &flags.containers, &flags.cidfile, flags.ignore)? {
        containers::stop(&record, flags.time)?;
        say(&record.name)?;
    }
    Ok(0)
}
