//! `updater-launch volume inspect`

use clap::Args;

use crate::launch::command::volume::Shown;
use crate::launch::place::Place;
use crate::launch::storage::volumes::Volumes;
use crate::launch::{Error, print_json};

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// All volumes
    #[arg(short, long, conflicts_with = "volumes")]
    all: bool,
    /// Names, or the beginnings of such
    #[arg(required_unless_present = "all")]
    volumes: Vec<String>,
}

pub(crate) fn show(place: &Place, flags: &Inspect) -> Result<u8, Error> {
    let volumes = Volumes::open(place);
    let found = if flags.all {
        volumes.all()?.0
    } else {
        flags.volumes.iter().map(|word| volumes.find(word)).collect::<Result<Vec<_>, _>>()?
    };
    let shown: Vec<_> = found.iter().map(|named| Shown::new(&volumes, named)).collect();
    print_json(&shown)?;
    Ok(0)
}
