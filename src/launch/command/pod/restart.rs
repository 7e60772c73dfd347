//! `updater-launch pod restart`

use clap::Args;

use super::{Which, start};
use crate::launch::Error;
use crate::launch::lifecycle::traces;
use crate::launch::place::Place;
use crate::launch::pod::members;

#[derive(Debug, Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    which: Which,
}

pub(crate) fn restart(place: &Place, flags: &Restart) -> Result<u8, Error> {
    for pod in flags.which.find(place, false)? {
        members::stop(place, &pod, None)?;
        traces::reconcile(place);
        if let Some(status) = start::one(place, &pod)? {
            return Ok(status);
        }
    }
    Ok(0)
}
