//! `updater-launch volume rm`

use clap::Args;

use crate::launch::lifecycle::{containers, traces};
use crate::launch::place::Place;
use crate::launch::storage::users;
use crate::launch::storage::volumes::{self, Volumes};
use crate::launch::storage::writable::Discarded;
use crate::launch::{Error, say};
use crate::model::failure::chain;

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// All volumes
    #[arg(short, long, conflicts_with = "volumes")]
    all: bool,
    /// Remove the containers that use it, too; one that is not there is no error
    #[arg(short, long)]
    force: bool,
    /// Seconds before SIGKILL for those containers, instead of their own
    #[arg(short, long, value_name = "SECONDS", requires = "force")]
    time: Option<u32>,
    /// Names, or the beginnings of such
    #[arg(required_unless_present = "all")]
    volumes: Vec<String>,
}

/// Each is tried; the status is 1 where one was not there, 2 where one is in use, whatever came last
/// (podman-volume-rm(1)).
pub(crate) fn remove(place: &Place, flags: &Remove) -> Result<u8, Error> {
    let volumes = Volumes::open(place);
    let words = match flags.all {
        true => volumes.all()?.0.into_iter().map(|named| named.name).collect(),
        false => flags.volumes.clone(),
    };
    if flags.force {
        stop_users(place, &volumes, &words, flags.time)?;
    }
    place.enter()?;
    traces::reconcile(place);
    let mut status = 0;
    for word in &words {
        match remove_one(place, &volumes, word, flags) {
            Ok(name) => say(name)?,
            Err(Error::Volumes(volumes::Error::NoSuch(_))) if flags.force => {}
            Err(error) => {
                eprintln!("Error: {}", chain(&error));
                status = match error {
                    Error::Volumes(volumes::Error::NoSuch(_)) => 1,
                    Error::Volumes(volumes::Error::InUse { .. }) => 2,
                    _ => 125,
                };
            }
        }
    }
    Ok(status)
}

/// Stops the containers that use one of them.
fn stop_users(
    place: &Place,
    volumes: &Volumes,
    words: &[String],
    time: Option<u32>,
) -> Result<(), Error> {
    let found = place.records().all()?;
    for named in words.iter().filter_map(|word| volumes.find(word).ok()) {
        for user in users::of(&found, &named.name) {
            if user.is_running() {
                containers::stop(user, time)?;
            }
        }
    }
    Ok(())
}

fn remove_one(
    place: &Place,
    volumes: &Volumes,
    word: &str,
    flags: &Remove,
) -> Result<String, Error> {
    let name = volumes.find(word)?.name;
    loop {
        let lock = place.records().lock()?;
        let found = place.records().all()?;
        let used_by = users::of(&found, &name);
        let Some(user) = used_by.first() else {
            let discarded = volumes.discard(&name)?;
            drop(lock);
            discarded.into_iter().for_each(Discarded::remove);
            return Ok(name);
        };
        if !flags.force {
            let users = used_by.iter().map(|record| record.name.clone()).collect();
            return Err(volumes::Error::InUse { name, users }.into());
        }
        drop(lock);
        if user.is_running() {
            // It was started since.
            return Err(Error::Running(user.name.clone()));
        }
        containers::clear_away(place, user)?.into_iter().for_each(Discarded::remove);
    }
}
