//! `updater-launch pod rm`

use clap::Args;

use super::Which;
use crate::launch::place::Place;
use crate::launch::pod::members;
use crate::launch::{Error, say};

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Stop containers that run
    #[arg(short, long)]
    force: bool,
    /// Seconds before SIGKILL, instead of each container's own
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u32>,
    /// A pod or ID file that is not there is no error
    #[arg(short, long)]
    ignore: bool,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn remove(place: &Place, flags: &Remove) -> Result<u8, Error> {
    for pod in flags.which.find(place, flags.ignore)? {
        members::remove(place, &pod, flags.force, flags.time)?;
        say(&pod.id)?;
    }
    Ok(0)
}
