//! `updater-launch network rm`

use clap::Args;

use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::traces;
use crate::launch::network::mode::DEFAULT;
use crate::launch::network::networks::Network;
use crate::launch::network::users::{self, User};
use crate::launch::place::Place;
use crate::launch::pod::members;
use crate::launch::storage::writable::Discarded;
use crate::launch::{Error, network, say};
use crate::model::failure::chain;

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Stop and remove the containers and pods that use it; one that is not there is no error
    #[arg(short, long)]
    force: bool,
    /// Seconds before SIGKILL, instead of a container's own
    #[arg(short, long, value_name = "SECONDS", requires = "force")]
    time: Option<u32>,
    /// Names, or IDs, or the beginnings of such
    #[arg(required = true)]
    networks: Vec<String>,
}

/// The exit statuses of podman-network-rm(1).
const ABSENT: u8 = 1;
const IN_USE: u8 = 2;

pub(crate) fn remove(place: &Place, flags: &Remove) -> Result<u8, Error> {
    traces::reconcile(place);
    let mut status = 0;
    for word in &flags.networks {
        match remove_one(place, flags, word) {
            Ok(name) => say(name)?,
            Err(Error::Network(network::Error::NoSuchNetwork(_))) if flags.force => {}
            Err(error) => {
                eprintln!("Error: {}", chain(&error));
                status = match error {
                    Error::Network(network::Error::NoSuchNetwork(_)) => ABSENT,
                    Error::Network(network::Error::NetworkInUse { .. }) => IN_USE,
                    other => other.status(),
                };
            }
        }
    }
    Ok(status)
}

fn remove_one(place: &Place, flags: &Remove, word: &str) -> Result<String, Error> {
    let found = network::networks(place).find(word)?;
    if found.name == DEFAULT {
        return Err(network::Error::Default(DEFAULT).into());
    }
    if flags.force {
        for user in users::of(place, &found)? {
            clear(place, user, flags.time)?;
        }
    }
    remove_unused(place, &found)?;
    Ok(found.name)
}

fn clear(place: &Place, user: User, time: Option<u32>) -> Result<(), Error> {
    match user {
        User::Container(record) => {
            containers::stop(&record, time)?;
            containers::clear_away(place, &record)?.into_iter().for_each(Discarded::remove);
        }
        User::Pod(pod) => members::remove(place, &pod, true, time)?,
    }
    Ok(())
}

/// Removes a network, where nobody uses it.
pub(crate) fn remove_unused(place: &Place, found: &Network) -> Result<(), Error> {
    let _lock = network::lock(place)?;
    let users = users::of(place, found)?;
    if users.is_empty() {
        return Ok(network::networks(place).remove(&found.name)?);
    }
    let names: Vec<&str> = users.iter().map(User::name).collect();
    Err(network::Error::NetworkInUse { name: found.name.clone(), users: names.join(", ") }.into())
}
