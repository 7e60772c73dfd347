//! Which image a container runs.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::launch::Error;
use crate::launch::args::{ImageFlags, PullPolicy};
use crate::launch::image::name::{Named, full};
use crate::launch::place::Place;
use crate::launch::supervise::interruption::Interruption;
use crate::launch::supervise::notify::Notifier;
use crate::model::{Reference, UnitName};
use crate::store::{Image, Store};

/// How often a pull is looked after, and by how much each look lets the start take longer.
const LOOK: Duration = Duration::from_millis(20);
const EXTEND_EVERY: Duration = Duration::from_secs(10);
const EXTEND: Duration = Duration::from_secs(30);

/// The image called `name`, and its full name: what is there, and else what the first registry has that
/// can be asked, of those that a name without one may stand for.
pub(crate) fn image(
    place: &Place,
    flags: &ImageFlags,
    name: &str,
    unit: Option<&UnitName>,
    notifier: &Notifier,
) -> Result<(Reference, Image), Error> {
    let candidates = match full(place, &place.store()?, name)? {
        Named::One(reference) => {
            let image = of_reference(place, flags, &reference, unit, notifier)?;
            return Ok((reference, image));
        }
        Named::Any(_) if flags.pull == PullPolicy::Never => {
            return Err(Error::NoImage(name.to_owned()));
        }
        Named::Any(candidates) => candidates,
    };
    if !flags.quiet {
        eprintln!("{candidates}");
    }
    for reference in candidates.references {
        match of_reference(place, flags, &reference, unit, notifier) {
            Ok(image) => return Ok((reference, image)),
            // It has said itself why it failed.
            Err(Error::Pull { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Pull { image: name.to_owned() })
}

/// The image that the unit is bound to for this reference, whatever the tag says; else the one
/// that the tag names, pulled as the policy says.
fn of_reference(
    place: &Place,
    flags: &ImageFlags,
    reference: &Reference,
    unit: Option<&UnitName>,
    notifier: &Notifier,
) -> Result<Image, Error> {
    let store = place.store()?;
    if let Some(unit) = unit
        && let Some(manifest) = store.binding(unit, reference)?
        && let Some(image) = store.image(&manifest)?
    {
        // Somebody may have moved the tag by hand, and wonders.
        if store.resolve(reference)?.is_none_or(|tagged| tagged.identity.manifest != manifest) {
            eprintln!("{unit} is bound to {manifest} by updaterd, whatever {reference} names");
        }
        return Ok(image);
    }
    let wanted = flags.platform.wanted()?;
    let fits =
        |image: &Image| !flags.platform.are_set() || wanted.accepts(&image.identity.platform);
    let here = store.resolve(reference)?.filter(fits);
    match (flags.pull, here) {
        (PullPolicy::Missing | PullPolicy::Never, Some(image)) => Ok(image),
        (PullPolicy::Never, None) => Err(Error::NoImage(reference.to_string())),
        (PullPolicy::Newer, Some(image)) => match pull(place, flags, reference, notifier) {
            Ok(()) => pulled(&store, reference),
            Err(error) if error.signal().is_some() => Err(error),
            Err(_) => Ok(image),
        },
        _ => {
            pull(place, flags, reference, notifier)?;
            pulled(&store, reference)
        }
    }
}

fn pulled(store: &Store, reference: &Reference) -> Result<Image, Error> {
    store.resolve(reference)?.ok_or_else(|| Error::Pull { image: reference.to_string() })
}

/// Pulls in a child process: this one stays single-threaded. The start's timeout is extended by
/// this process, for systemd does not listen to children under NotifyAccess=main.
fn pull(
    place: &Place,
    flags: &ImageFlags,
    reference: &Reference,
    notifier: &Notifier,
) -> Result<(), Error> {
    let mut command = Command::new("/proc/self/exe");
    for (flag, directory) in place.flags() {
        command.arg(flag).arg(directory);
    }
    command.args(["pull", "--quiet", "--retry=0"]);
    let platform = &flags.platform;
    let named = [
        ("--platform", &platform.platform),
        ("--os", &platform.os),
        ("--arch", &platform.arch),
        ("--variant", &platform.variant),
    ];
    for (flag, value) in named {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    if let Some(authfile) = &flags.registry.authfile {
        command.arg("--authfile").arg(authfile);
    }
    if let Some(verify) = flags.registry.tls_verify {
        command.arg(format!("--tls-verify={verify}"));
    }
    command.arg(reference.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).env_remove("NOTIFY_SOCKET");
    if !flags.quiet {
        eprintln!("Trying to pull {reference}...");
    }
    let child = command.spawn().map_err(|error| Error::system("start a pull", error))?;
    let interruption = Interruption::take()?;
    if wait(child, notifier, &interruption)? {
        Ok(())
    } else {
        Err(Error::Pull { image: reference.to_string() })
    }
}

/// Whether the pull succeeded; it has said itself why not. Who asks this process to end asks the
/// pull, which clears away first: systemd kills what is left of a unit as soon as this one ends.
fn wait(mut child: Child, notifier: &Notifier, interruption: &Interruption) -> Result<bool, Error> {
    let mut extended: Option<Instant> = None;
    let mut asked = None;
    loop {
        if let Some(status) =
            child.try_wait().map_err(|error| Error::system("wait for the pull", error))?
        {
            return asked.map_or(Ok(status.success()), |signal| Err(Error::Interrupted { signal }));
        }
        if let Some(signal) = interruption.came() {
            asked = Some(signal as i32);
            // Not waited for yet: the number is nobody else's.
            let _ = nix::sys::signal::kill(Pid::from_raw(child.id().cast_signed()), signal);
        }
        if extended.is_none_or(|at| at.elapsed() >= EXTEND_EVERY) {
            notifier.extend(EXTEND);
            extended = Some(Instant::now());
        }
        std::thread::sleep(LOOK);
    }
}
