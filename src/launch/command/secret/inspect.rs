//! `updater-launch secret inspect`

use clap::Args;

use crate::launch::command::secret::shown;
use crate::launch::place::Place;
use crate::launch::storage::secrets::Secrets;
use crate::launch::{Error, print_json};

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Names, or IDs, or the beginnings of such
    #[arg(required = true)]
    secrets: Vec<String>,
}

pub(crate) fn show(place: &Place, flags: &Inspect) -> Result<u8, Error> {
    let secrets = Secrets::open(place);
    let found = flags.secrets.iter().map(|word| secrets.find(word).map(|secret| shown(&secret)));
    print_json(&found.collect::<Result<Vec<_>, _>>()?)?;
    Ok(0)
}
