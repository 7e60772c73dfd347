//! `updater-launch pod …`: one file for each command.

pub(crate) mod create;
pub(crate) mod exists;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod start;
pub(crate) mod stop;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::launch::Error;
use crate::launch::place::Place;
use crate::launch::pod;
use crate::launch::pod::definition::Pod;
use crate::launch::pod::store::Pods;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Make a pod; its containers are made with run --pod, or create --pod
    Create(Box<create::Create>),
    /// Start pods, and the containers in them
    Start(start::Start),
    /// Stop the containers in pods, and the pods
    Stop(stop::Stop),
    /// Stop pods, and start them again
    Restart(restart::Restart),
    /// Send a signal to the containers in pods
    Kill(kill::Kill),
    /// Remove pods, and the containers in them
    Rm(rm::Remove),
    /// Remove all pods that do not run
    Prune(prune::Prune),
    /// List pods
    #[command(visible_aliases = ["ls", "list"])]
    Ps(ps::Ps),
    /// Show all that is known of pods, as JSON
    Inspect(inspect::Inspect),
    /// Whether there is such a pod: exit status 0, else 1
    Exists(exists::Exists),
}

pub(crate) fn carry_out(place: &Place, command: &Command) -> Result<u8, Error> {
    match command {
        Command::Create(create) => create::create(place, create),
        Command::Start(start) => start::start(place, start),
        Command::Stop(stop) => stop::stop(place, stop),
        Command::Restart(restart) => restart::restart(place, restart),
        Command::Kill(kill) => kill::kill(place, kill),
        Command::Rm(remove) => rm::remove(place, remove),
        Command::Prune(prune) => prune::prune(place, prune),
        Command::Ps(ps) => ps::list(place, ps),
        Command::Inspect(inspect) => inspect::show(place, inspect),
        Command::Exists(exists) => exists::exists(place, exists),
    }
}

impl Command {
    /// Whether containers are started.
    pub(crate) fn starts(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Restart(_))
    }
}

// Which pods a command is about.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// All pods
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Files with IDs of pods
    #[arg(long, value_name = "FILE")]
    pub(crate) pod_id_file: Vec<PathBuf>,
    /// Names, or IDs, or the beginnings of such
    pub(crate) pods: Vec<String>,
}

impl Which {
    /// With `ignore`, what is not there is left out.
    pub(crate) fn find(&self, place: &Place, ignore: bool) -> Result<Vec<Pod>, Error> {
        let pods = Pods::open(place);
        if self.all {
            return pods.all();
        }
        if self.pods.is_empty() && self.pod_id_file.is_empty() {
            return Err(pod::Error::Nothing.into());
        }
        pods.select(&self.pods, &self.pod_id_file, ignore)
    }
}
