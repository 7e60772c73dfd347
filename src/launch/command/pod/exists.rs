//! `updater-launch pod exists`

use clap::Args;

use crate::launch::Error;
use crate::launch::place::Place;
use crate::launch::pod;
use crate::launch::pod::store::Pods;

#[derive(Debug, Args)]
pub(crate) struct Exists {
    /// Name or ID of the pod
    pod: String,
}

pub(crate) fn exists(place: &Place, flags: &Exists) -> Result<u8, Error> {
    match Pods::open(place).find(&flags.pod) {
        Ok(_) => Ok(0),
        Err(Error::Pod(pod::Error::NoSuchPod(_))) => Ok(1),
        Err(error) => Err(error),
    }
}
