//! `updater-launch volume inspect`

use clap::Args;

use crate::launch::command::volume::shown;
use crate::launch::place::Place;
use crate::launch::storage::volumes::Volumes;
use crate::launch::{Error, show as print};
use crate::terminal::template::Format;

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// All volumes
    #[arg(short, long, conflicts_with = "volumes")]
    all: bool,
    /// "json", or a Go template
    #[arg(short, long, value_name = "FORMAT", default_value = "json", hide_default_value = true)]
    format: Format,
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
    let shown: Vec<_> = found.iter().map(|named| shown(&volumes, named)).collect();
    print(&flags.format, &shown)?;
    Ok(0)
}
