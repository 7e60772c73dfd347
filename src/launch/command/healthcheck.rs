//! `updater-launch healthcheck`: a check now, and, for the supervisor, the check itself.

use clap::{Args, Subcommand};

use crate::launch::control::connection::Connection;
use crate::launch::control::protocol::{Answer, Request};
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::enter::{self, Entry};
use crate::launch::place::Place;
use crate::launch::supervise::{Signals, attend_check};
use crate::launch::{Error, say};
use crate::model::ContainerId;

#[derive(Debug, Args)]
pub(crate) struct HealthCheck {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Action {
    /// Check a container's health now: exit status 0 where it passes, 1 where not
    Run {
        /// Name or ID of the container
        container: String,
    },
    /// What a supervisor calls for each check: it enters the container in its stead
    #[command(hide = true)]
    Probe {
        id: ContainerId,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

pub(crate) fn healthcheck(place: &Place, flags: &HealthCheck) -> Result<u8, Error> {
    match &flags.action {
        Action::Run { container } => run(place, container),
        Action::Probe { id, command } => probe(place, id, command),
    }
}

/// The supervisor checks, and keeps the result as that of any other check.
fn run(place: &Place, name: &str) -> Result<u8, Error> {
    let record = containers::find(place, name)?;
    let not_running = || Error::NotRunning(name.to_owned());
    if !record.pid.is_some_and(|process| process.is_alive()) {
        return Err(not_running());
    }
    if place.records().health(&record.id)?.is_none() {
        return Err(Error::NoHealthCheck(name.to_owned()));
    }
    let failed = |source| Error::system("ask the container's supervisor for a check", source);
    let supervisor = Connection::open(&record).map_err(failed)?;
    supervisor.ask(&Request::Check).map_err(failed)?;
    loop {
        match supervisor.answer().map_err(failed)? {
            Some(Answer::Checked(true)) => return Ok(0),
            Some(Answer::Checked(false)) => {
                say("unhealthy")?;
                return Ok(1);
            }
            Some(_) => {}
            None => return Err(not_running()),
        }
    }
}

fn probe(place: &Place, id: &ContainerId, command: &[String]) -> Result<u8, Error> {
    let record = place.records().get(id)?;
    let record = record.ok_or_else(|| Error::NoSuchContainer(id.short().to_owned()))?;
    let mut signals = Signals::take()?;
    let entering = enter::prepare(place, &record, &Entry { command, ..Entry::default() })?;
    signals.check()?;
    let command = entering.start();
    drop(entering);
    let (command, _terminal) = command?;
    attend_check(command, signals)
}
