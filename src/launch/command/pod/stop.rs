//! `updater-launch pod stop`

use clap::Args;

use super::Which;
use crate::launch::place::Place;
use crate::launch::pod::members;
use crate::launch::{Error, say};

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds before SIGKILL, instead of each container's own
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u32>,
    /// A pod or ID file that is not there is no error
    #[arg(short, long)]
    ignore: bool,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn stop(place: &Place, flags: &Stop) -> Result<u8, Error> {
    for pod in flags.which.find(place, flags.ignore)? {
        members::stop(place, &pod, flags.time)?;
        say(&pod.id)?;
    }
    Ok(0)
}
