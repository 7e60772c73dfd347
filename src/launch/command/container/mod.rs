//! `updater-launch container`: the same verbs as without the word, and a few more.

mod prune;

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::launch::Error;
use crate::launch::command::inspect::{InspectFlags, Kind};
use crate::launch::command::{inspect, ps};
use crate::launch::lifecycle::{containers, traces};
use crate::launch::place::Place;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Whether there is a container: exit status 0, or 1
    Exists(Name),
    /// Show all that is known of containers
    Inspect(InspectFlags),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Ps),
    /// Remove all containers that do not run
    Prune(prune::Prune),
    /// A verb that means the same without the word.
    #[command(external_subcommand)]
    Verb(Vec<OsString>),
}

/// The verbs of containers that `container` may stand before.
pub(super) const VERBS: [&str; 18] = [
    "attach", "cp", "create", "exec", "kill", "logs", "pause", "port", "rename", "restart", "rm",
    "run", "start", "stats", "stop", "top", "unpause", "wait",
];

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Name, or ID, or the beginning of one
    container: String,
}

pub(crate) fn run(place: &Place, command: &Command) -> Result<u8, Error> {
    match command {
        Command::Exists(name) => {
            traces::reconcile(place);
            match containers::find(place, &name.container) {
                Ok(_) => Ok(0),
                Err(Error::NoSuchContainer(_)) => Ok(1),
                Err(error) => Err(error),
            }
        }
        Command::Inspect(flags) => inspect::show_kind(place, Kind::Container, flags),
        Command::Ls(flags) => ps::list(place, flags),
        Command::Prune(flags) => prune::prune(place, flags),
        // One that there is has been put in the place of the word (`Arguments::read`).
        Command::Verb(words) => {
            let verb = words.first().map(|word| word.to_string_lossy().into_owned());
            Err(Error::NoSuchVerb(verb.unwrap_or_default()))
        }
    }
}
