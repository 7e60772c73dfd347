//! `updater-launch volume exists`

use clap::Args;

use crate::launch::Error;
use crate::launch::lifecycle::name;
use crate::launch::place::Place;
use crate::launch::storage::volumes::Volumes;

#[derive(Debug, Args)]
pub(crate) struct Exists {
    /// Name of the volume
    name: String,
}

pub(crate) fn exists(place: &Place, flags: &Exists) -> Result<u8, Error> {
    let is_there = name::is_valid(&flags.name) && Volumes::open(place).get(&flags.name)?.is_some();
    Ok(u8::from(!is_there))
}
