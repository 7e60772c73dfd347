//! `updater-launch create`: a container that is started later.

use clap::Args;

use crate::launch::args::Create;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::lifecycle::traces::Traces;
use crate::launch::lifecycle::{choose, containers, traces};
use crate::launch::place::Place;
use crate::launch::pod;
use crate::launch::storage::{settle, writable};
use crate::launch::supervise::Signals;
use crate::launch::supervise::notify::Notifier;
use crate::launch::{Error, say};

// `create`, with the flags of podman-create(1) that are there.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Flags {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    pub(crate) create: Create,
}

pub(crate) fn create(place: &Place, flags: &Flags) -> Result<u8, Error> {
    let mut create = flags.create.settled()?;
    let notifier = Notifier::from_environment();
    let pod = pod::join::of(place, &create)?;
    let (reference, image) = choose::image(place, &create.source, &create.image, None, &notifier)?;
    create.image = reference.to_string();
    place.enter()?;
    let replace = create.identity.replace;
    let definition = Definition::new(place, create, &image, pod.as_ref())?;
    traces::reconcile(place);
    let mut signals = Signals::take()?;
    containers::take_name(place, &definition.record, replace, &notifier, &mut signals)?;
    let record = &definition.record;
    let mut traces = Traces::new(place, record.id.clone());
    traces.writable = Some(writable::claim(place, &record.id)?);
    definition.write(place)?;
    settle::make_volumes(place, &record.volumes)?;
    if let Some(path) = &record.cidfile {
        containers::write_cidfile(path, &record.id)?;
        traces.cidfile = Some(path.clone());
    }
    signals.check()?;
    traces.keep = true;
    say(&record.id)?;
    Ok(0)
}
