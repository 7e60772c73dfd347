//! `updater-launch pod start`

use clap::Args;

use super::Which;
use crate::launch::command::start::launch_detached;
use crate::launch::lifecycle::traces;
use crate::launch::place::Place;
use crate::launch::pod::definition::Pod;
use crate::launch::pod::members;
use crate::launch::pod::supervise::ensure;
use crate::launch::{Error, say};

#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    which: Which,
}

pub(crate) fn start(place: &Place, flags: &Start) -> Result<u8, Error> {
    traces::reconcile(place);
    for pod in flags.which.find(place, false)? {
        if let Some(status) = one(place, &pod)? {
            return Ok(status);
        }
    }
    Ok(0)
}

/// Starts what of the pod does not run. A status is this process's last word: it is one of the
/// supervisors, or one of them has failed.
pub(crate) fn one(place: &Place, pod: &Pod) -> Result<Option<u8>, Error> {
    if let Some(status) = ensure(place, pod)? {
        return Ok(Some(status));
    }
    for record in members::of(place, pod)? {
        if !record.is_running()
            && let Some(status) = launch_detached(place, &record)?
        {
            return Ok(Some(status));
        }
    }
    say(&pod.id)?;
    Ok(None)
}
