//! `updater-launch start`: containers that were made, or have ended.

use clap::Args;

use crate::launch::isolation::cgroup::Location;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::lifecycle::detach::{self, Handover};
use crate::launch::lifecycle::{containers, start, traces};
use crate::launch::place::Place;
use crate::launch::pod;
use crate::launch::supervise::Signals;
use crate::launch::supervise::notify::Notifier;
use crate::launch::{Error, say};
use crate::store::containers::{Process, Record};

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Wait for the container, with its output; its exit status is this program's
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Names, or IDs, or the beginnings of such
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

pub(crate) fn start(place: &Place, flags: &Start) -> Result<u8, Error> {
    traces::reconcile(place);
    if flags.attach && flags.containers.len() > 1 {
        return Err(Error::AttachToOne);
    }
    let records = containers::select(place, &flags.containers, &[], false)?;
    for (record, word) in records.iter().zip(&flags.containers) {
        if record.is_running() {
            say(word)?;
            continue;
        }
        if let Some(status) = pod::join::ensure(place, record)? {
            return Ok(status);
        }
        if flags.attach {
            return launch(place, record, &Handover::none());
        }
        if let Some(status) = launch_detached(place, record)? {
            return Ok(status);
        }
    }
    Ok(0)
}

/// Starts a container with a supervisor in the background. A status is this process's last word:
/// it is that supervisor, or that has failed.
pub(crate) fn launch_detached(place: &Place, record: &Record) -> Result<Option<u8>, Error> {
    let handover = detach::detach()?;
    match handover.exit_status() {
        Some(0) => Ok(None),
        Some(status) => Ok(Some(status)),
        None => handover.outcome(launch(place, record, &handover)).map(Some),
    }
}

fn launch(place: &Place, record: &Record, handover: &Handover) -> Result<u8, Error> {
    place.join(pod::join::supervisor(place, record)?)?;
    let signals = Signals::take()?;
    let location = Location::find()?;
    let definition = take(place, record, &location)?;
    let manifest = &definition.record.image.manifest;
    let image = place.store()?.image(manifest)?;
    let image = image.ok_or_else(|| Error::NoImage(manifest.to_string()))?;
    let notifier = Notifier::from_environment();
    start::start(
        place,
        start::Start {
            definition,
            image,
            location,
            signals,
            notifier: &notifier,
            handover,
            new: false,
        },
    )
}

/// Makes this process the container's supervisor, where it has none.
fn take(place: &Place, record: &Record, location: &Location) -> Result<Definition, Error> {
    let records = place.records();
    let _lock = records.lock()?;
    let now = records.get(&record.id)?;
    let now = now.ok_or_else(|| Error::NoSuchContainer(record.name.clone()))?;
    if now.is_running() {
        return Err(Error::Running(record.name.clone()));
    }
    let mut definition = Definition::read(place, &record.id)?;
    let supervisor = Process::current().map_err(|error| Error::system("find myself", error))?;
    let ended = &definition.record;
    definition.record = Record {
        supervisor: Some(supervisor),
        unit: location.unit(place.scope),
        pid: None,
        started: None,
        ended: None,
        ..ended.clone()
    };
    records.write(&definition.record)?;
    Ok(definition)
}
