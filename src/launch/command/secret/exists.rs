//! `updater-launch secret exists`

use clap::Args;

use crate::launch::Error;
use crate::launch::place::Place;
use crate::launch::storage::secrets::{self, Secrets};

#[derive(Debug, Args)]
pub(crate) struct Exists {
    /// Name or ID of the secret
    secret: String,
}

pub(crate) fn exists(place: &Place, flags: &Exists) -> Result<u8, Error> {
    match Secrets::open(place).find(&flags.secret) {
        Ok(_) => Ok(0),
        Err(secrets::Error::NoSuch(_)) => Ok(1),
        Err(error) => Err(error.into()),
    }
}
