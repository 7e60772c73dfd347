//! `updater-launch network …`: one file for each command.

pub(crate) mod create;
pub(crate) mod exists;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod rm;

use clap::Subcommand;

use crate::launch::place::Place;
use crate::launch::{Error, network};
use crate::model::Scope;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Make a network: a bridge on this host
    Create(create::Create),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(ls::Ls),
    /// Show all that is known of networks, as JSON
    Inspect(inspect::Inspect),
    /// Whether there is such a network: exit status 0, else 1
    Exists(exists::Exists),
    /// Remove networks that no container uses
    #[command(visible_alias = "remove")]
    Rm(rm::Remove),
    /// Remove all networks that no container uses
    Prune(prune::Prune),
}

/// # Errors
/// For an ordinary user, too, who cannot have bridges.
pub(crate) fn carry_out(place: &Place, command: &Command) -> Result<u8, Error> {
    if place.scope != Scope::System {
        return Err(network::Error::NotRoot.into());
    }
    match command {
        Command::Create(create) => create::create(place, create),
        Command::Ls(ls) => ls::list(place, ls),
        Command::Inspect(inspect) => inspect::show(place, inspect),
        Command::Exists(exists) => exists::exists(place, exists),
        Command::Rm(remove) => rm::remove(place, remove),
        Command::Prune(prune) => prune::prune(place, prune),
    }
}
