//! `updater-launch run`: a new container, from a command line to its exit status.

use clap::Args;

use crate::launch::args::Create;
use crate::launch::command::attach::{self, AttachFlags};
use crate::launch::isolation::cgroup::Location;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::lifecycle::detach::{self, Handover};
use crate::launch::lifecycle::start::{self, Start};
use crate::launch::lifecycle::{beside, choose, containers, guest, traces};
use crate::launch::place::Place;
use crate::launch::pod;
use crate::launch::supervise::Signals;
use crate::launch::supervise::notify::Notifier;
use crate::launch::{Error, say};
use crate::store::Image;
use crate::store::containers::Process;

const SURROUNDINGS: &str = "\
What a container has, whatever the unit or shell that starts it:
  Standard input is empty. Descriptors that systemd passes (socket activation) are handed on.
  The umask is 022; the groups are those of its user in the image.
  RLIMIT_NOFILE and RLIMIT_NPROC are 1048576, or the hard limit of the unit (LimitNOFILE=,
  LimitNPROC=) where that is less; all other limits are the unit's.
  Mounts are made in the order of their depth, whatever the order of the flags.
  A missing working directory of the image is made; one of --workdir must be there.
  With MKNOD or SYS_ADMIN, the only devices of the host that it can open are null, zero, full,
  random, urandom, tty, ptmx, pseudo terminals, those of --device and --device-cgroup-rule, and those
  bound by name with the option \"dev\"; with --privileged, all.
  With --detach, it belongs to the unit whose command this is, or a script that ends. In a service
  that goes on by itself it is a guest, which no update restarts the service for, unless
  PODMAN_SYSTEMD_UNIT in the environment names the service.
  On x86_64, 32-bit programs run under the same filter of system calls.";

// `run`, with the flags of podman-run(1) that are there.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = SURROUNDINGS)]
pub(crate) struct Run {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Print the ID and leave the container to a supervisor in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) attach: AttachFlags,
    #[command(flatten)]
    pub(crate) create: Create,
}

pub(crate) fn run(place: &Place, flags: &Run) -> Result<u8, Error> {
    // All that can be wrong with the command line, before anything is touched.
    let mut create = flags.create.settled()?;
    let pod = pod::join::of(place, &create)?;
    let notifier = Notifier::from_environment();
    let location = Location::find()?;
    let unit = location.unit(place.scope);
    let (reference, image) =
        choose::image(place, &create.source, &create.image, unit.as_ref(), &notifier)?;
    create.image = reference.to_string();
    if let Some(pod) = &pod
        && let Some(status) = pod::supervise::ensure(place, pod)?
    {
        return Ok(status);
    }
    let process = create.process.clone();
    let in_background = flags.detach || process.tty || process.interactive;
    // Of this process's parents: the supervisor has none.
    let host = in_background.then(|| guest::host(&location, place.scope)).flatten();
    // The image is there: whoever interrupts a pull has interrupted all.
    let (handover, caller) = match (flags.detach, process.tty || process.interactive) {
        (true, _) => (detach::detach()?, None),
        (false, true) => {
            let (handover, caller) = detach::detach_attached()?;
            (handover, Some(caller))
        }
        (false, false) => (Handover::none(), None),
    };
    if let Some(id) = handover.started_id() {
        return match caller {
            Some(caller) => attach::with(&caller, &flags.attach, process.interactive, process.tty),
            None => say(id).map(|()| 0),
        };
    }
    drop(caller);
    let definition = Definition::new(place, create, &image, pod.as_ref()).map(|mut definition| {
        definition.record.host = host;
        definition
    });
    let launch = |definition| launch(place, definition, image, location, &notifier, &handover);
    handover.outcome(definition.and_then(launch))
}

fn launch(
    place: &Place,
    mut definition: Definition,
    image: Image,
    location: Location,
    notifier: &Notifier,
    handover: &Handover,
) -> Result<u8, Error> {
    place.join(beside::whom(place, &definition.create, &definition.record)?)?;
    let replace = definition.create.identity.replace;
    let supervisor = Process::current().map_err(|error| Error::system("find myself", error))?;
    definition.record.supervisor = Some(supervisor);
    definition.record.unit = location.unit(place.scope);
    // A stop may interrupt this: nothing has been begun yet.
    traces::reconcile(place);
    let mut signals = Signals::take()?;
    containers::take_name(place, &definition.record, replace, notifier, &mut signals)?;
    start::start(
        place,
        Start { definition, image, location, signals, notifier, handover, new: true },
    )
}
