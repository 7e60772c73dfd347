//! `updater-launch secret inspect`

use clap::Args;

use crate::launch::command::secret::shown;
use crate::launch::place::Place;
use crate::launch::storage::secrets::Secrets;
use crate::launch::{Error, show as print};
use crate::terminal::template::Format;

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// "json", or a Go template
    #[arg(short, long, value_name = "FORMAT", default_value = "json", hide_default_value = true)]
    format: Format,
    /// Names, or IDs, or the beginnings of such
    #[arg(required = true)]
    secrets: Vec<String>,
}

pub(crate) fn show(place: &Place, flags: &Inspect) -> Result<u8, Error> {
    let secrets = Secrets::open(place);
    let found = flags.secrets.iter().map(|word| secrets.find(word).map(|secret| shown(&secret)));
    print(&flags.format, &found.collect::<Result<Vec<_>, _>>()?)?;
    Ok(0)
}
