//! `updater-launch secret rm`

use clap::Args;

use crate::launch::place::Place;
use crate::launch::storage::secrets::{self, Secrets};
use crate::launch::{Error, say};

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// All secrets
    #[arg(short, long, conflicts_with = "secrets")]
    all: bool,
    /// A secret that is not there is no error
    #[arg(short, long)]
    ignore: bool,
    /// Names, or IDs, or the beginnings of such
    #[arg(required_unless_present = "all")]
    secrets: Vec<String>,
}

pub(crate) fn remove(place: &Place, flags: &Remove) -> Result<u8, Error> {
    let secrets = Secrets::open(place);
    let mut found = if flags.all { secrets.all()? } else { Vec::new() };
    for word in &flags.secrets {
        match secrets.find(word) {
            Err(secrets::Error::NoSuch(_)) if flags.ignore => {}
            secret => found.push(secret?),
        }
    }
    for secret in found {
        secrets.remove(&secret)?;
        say(secret.id)?;
    }
    Ok(0)
}
