//! `updater-launch network exists`

use clap::Args;

use crate::launch::place::Place;
use crate::launch::{Error, network};

#[derive(Debug, Args)]
pub(crate) struct Exists {
    /// Name, or ID
    network: String,
}

pub(crate) fn exists(place: &Place, flags: &Exists) -> Result<u8, Error> {
    match network::find(place, &flags.network) {
        Ok(_) => Ok(0),
        Err(network::Error::NoSuchNetwork(_)) => Ok(1),
        Err(error) => Err(error.into()),
    }
}
