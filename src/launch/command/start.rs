//! `updater-launch start`: containers that were made, or have ended.

use clap::Args;

use crate::launch::Error;
use crate::launch::command::attach::{self, AttachFlags};
use crate::launch::isolation::cgroup::Location;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::lifecycle::detach::{self, Handover};
use crate::launch::lifecycle::selection::each;
use crate::launch::lifecycle::{beside, guest, selection, start, traces};
use crate::launch::place::Place;
use crate::launch::pod;
use crate::launch::supervise::Signals;
use crate::launch::supervise::notify::Notifier;
use crate::store::containers::{Process, Record};

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Wait for the container, with its output; its exit status is this program's
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Pass on standard input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    #[command(flatten)]
    pub(crate) flags: AttachFlags,
    /// All that do not run
    #[arg(long, conflicts_with = "containers")]
    pub(crate) all: bool,
    /// Names, or IDs, or the beginnings of such
    #[arg(required_unless_present = "all")]
    pub(crate) containers: Vec<String>,
}

pub(crate) fn start(place: &Place, flags: &Start) -> Result<u8, Error> {
    traces::reconcile(place);
    let found = match flags.all {
        true => selection::all(place, |record| !record.is_running())?,
        false => selection::named(place, &flags.containers, false)?,
    };
    if flags.attach || flags.interactive {
        let mut found = found.into_iter();
        let (Some(one), None) = (found.next(), found.next()) else {
            return Err(Error::AttachToOne);
        };
        let record = one?.record;
        if record.is_running() {
            return attach::to_running(place, &record, &flags.flags, flags.interactive);
        }
        return match pod::join::ensure(place, &record)? {
            Some(status) => Ok(status),
            None => attached(place, &record, flags),
        };
    }
    each(found, |selected| match selected.record.is_running() {
        true => Ok(()),
        false => in_background(place, &selected.record),
    })
}

/// Starts a container in the foreground, with its input and its terminal where it has one.
fn attached(place: &Place, record: &Record, flags: &Start) -> Result<u8, Error> {
    let process = Definition::read(place, &record.id)?.create.process;
    if !process.tty && !process.interactive {
        return launch(place, record, &Handover::none(), None);
    }
    let host = guest::host(&Location::find()?, place.scope);
    let (handover, caller) = detach::detach_attached()?;
    if handover.started_id().is_some() {
        let input = flags.interactive && process.interactive;
        return attach::with(&caller, &flags.flags, input, process.tty);
    }
    drop(caller);
    handover.outcome(launch(place, record, &handover, host))
}

/// Starts a container, and its pod, below a supervisor that is forked for it: that does not come back
/// from here.
pub(crate) fn in_background(place: &Place, record: &Record) -> Result<(), Error> {
    match pod::join::ensure(place, record)?
        .map_or_else(|| launch_detached(place, record), |status| Ok(Some(status)))?
    {
        Some(status) => std::process::exit(status.into()),
        None => Ok(()),
    }
}

/// Starts a container below a supervisor that is forked for it. A status is that supervisor's last
/// word, whose process this is then.
pub(crate) fn launch_detached(place: &Place, record: &Record) -> Result<Option<u8>, Error> {
    // Of this process's parents: the supervisor has none.
    let host = guest::host(&Location::find()?, place.scope);
    let handover = detach::detach()?;
    match handover.started_id() {
        Some(_) => Ok(None),
        None => handover.outcome(launch(place, record, &handover, host)).map(Some),
    }
}

fn launch(
    place: &Place,
    record: &Record,
    handover: &Handover,
    host: Option<Process>,
) -> Result<u8, Error> {
    let create = Definition::read(place, &record.id)?.create;
    place.join(beside::whom(place, &create, record)?)?;
    let signals = Signals::take()?;
    let location = Location::find()?;
    let definition = take(place, record, &location, host)?;
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
fn take(
    place: &Place,
    record: &Record,
    location: &Location,
    host: Option<Process>,
) -> Result<Definition, Error> {
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
        host,
        pid: None,
        started: None,
        ended: None,
        restarts: 0,
        ..ended.clone()
    };
    records.write(&definition.record)?;
    Ok(definition)
}
