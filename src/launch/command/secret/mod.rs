//! `updater-launch secret …`: one file for each command. What a secret holds is never shown.

pub(crate) mod create;
pub(crate) mod exists;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod rm;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::launch::Error;
use crate::launch::place::Place;
use crate::launch::storage::secrets::Secret;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Keep a secret, read from a file or from standard input
    Create(create::Create),
    /// List secrets
    #[command(visible_alias = "list")]
    Ls(ls::List),
    /// Show what is known of secrets, but for what they hold, as JSON
    Inspect(inspect::Inspect),
    /// Remove secrets; containers that run keep what they were given
    Rm(rm::Remove),
    /// Whether there is such a secret: exit status 0, else 1
    Exists(exists::Exists),
}

pub(crate) fn carry_out(place: &Place, command: &Command) -> Result<u8, Error> {
    match command {
        Command::Create(create) => create::create(place, create),
        Command::Ls(list) => ls::list(place, list),
        Command::Inspect(inspect) => inspect::show(place, inspect),
        Command::Rm(remove) => rm::remove(place, remove),
        Command::Exists(exists) => exists::exists(place, exists),
    }
}

/// A secret by Podman's names (podman-secret-inspect(1)).
fn shown(secret: &Secret) -> Value {
    json!({
        "ID": secret.id,
        "CreatedAt": secret.created,
        "UpdatedAt": secret.updated,
        "Spec": {
            "Name": secret.name,
            "Driver": { "Name": "file", "Options": {} },
            "Labels": secret.labels,
        },
    })
}
