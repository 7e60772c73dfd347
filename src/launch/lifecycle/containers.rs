//! Finding, stopping and clearing away containers by their records.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::launch::Error;
use crate::launch::control::connection::Connection;
use crate::launch::control::protocol::Request;
use crate::launch::events;
use crate::launch::isolation::cgroup;
use crate::launch::lifecycle::traces::remove_files;
use crate::launch::place::Place;
use crate::launch::pod::store::Pods;
use crate::launch::storage::users;
use crate::launch::storage::writable::Discarded;
use crate::launch::supervise::notify::Notifier;
use crate::launch::supervise::{Signals, signal};
use crate::model::ContainerId;
use crate::store::containers::{Process, Record};

/// How long a supervisor may take to clear away after its container has ended.
const CLEARING: Duration = Duration::from_secs(10);

/// How long a supervisor may take longer than it was given, before it is done without it.
const GRACE: Duration = Duration::from_secs(2);

/// The container that `word` names: by name, ID, or the beginning of an ID.
pub(crate) fn find(place: &Place, word: &str) -> Result<Record, Error> {
    let records = place.records().all()?.records;
    if let Some(named) = records.iter().find(|record| record.name == word) {
        return Ok(named.clone());
    }
    let mut matching = records.into_iter().filter(|record| record.id.as_str().starts_with(word));
    match (word.is_empty(), matching.next(), matching.next()) {
        (false, Some(record), None) => Ok(record),
        (false, Some(_), Some(_)) => Err(Error::Ambiguous(word.to_owned())),
        _ => Err(Error::NoSuchContainer(word.to_owned())),
    }
}

/// The ID of the container that was made last.
pub(crate) fn latest(place: &Place) -> Result<ContainerId, Error> {
    let last = place.records().all()?.records.pop();
    last.map(|record| record.id).ok_or(Error::NoContainerYet)
}

/// Asks a container to stop, by its own signal; after `timeout` by SIGKILL. Returns when its
/// supervisor is gone. One that does not run is no error. Its supervisor does it, which is not to
/// start it again then, and knows of one that is just being started.
pub(crate) fn stop(record: &Record, timeout: Option<u32>) -> Result<(), Error> {
    let seconds = timeout;
    let timeout = Duration::from_secs(timeout.unwrap_or(record.stop_timeout).into());
    if let Some(init) = record.pid.filter(Process::is_alive) {
        let patience = if is_told_to_stop(record, seconds) {
            timeout + GRACE
        } else {
            send_to(record, init, signal::parse(&record.stop_signal)?)?;
            timeout
        };
        if !wait_for_end(init, patience)? {
            send_to(record, init, libc::SIGKILL)?;
            wait_for_end(init, CLEARING)?;
        }
    } else if let Some(supervisor) = record.supervisor.filter(Process::is_alive) {
        send(supervisor, libc::SIGTERM)?;
        wait_for_end(supervisor, timeout)?;
    }
    if let Some(supervisor) = record.supervisor
        && !wait_for_end(supervisor, CLEARING)?
    {
        send(supervisor, libc::SIGKILL)?;
        wait_for_end(supervisor, CLEARING)?;
    }
    // A process that waits for a disk or a server outlives even SIGKILL for a while.
    if record.is_running() { Err(Error::StillRunning(record.name.clone())) } else { Ok(()) }
}

/// Whether there is a supervisor that has been told.
fn is_told_to_stop(record: &Record, seconds: Option<u32>) -> bool {
    let told = Connection::open(record).and_then(|connection| {
        connection.ask(&Request::Stop(seconds))?;
        // It hangs up when it is at its end.
        Ok(connection)
    });
    record.is_supervised() && told.is_ok()
}

/// Ends a pod's supervisor; one that is gone is no error.
pub(crate) fn end(supervisor: Process) -> Result<(), Error> {
    if !supervisor.is_alive() {
        return Ok(());
    }
    send(supervisor, libc::SIGTERM)?;
    if !wait_for_end(supervisor, CLEARING)? {
        send(supervisor, libc::SIGKILL)?;
        wait_for_end(supervisor, CLEARING)?;
    }
    Ok(())
}

/// Writes the record, and with it takes the name. What a launcher that was killed has left under
/// the name is cleared away; a container that runs goes only with `replace`. While one is stopped,
/// nobody else is kept from starting; who comes first then has the name.
pub(crate) fn take_name(
    place: &Place,
    record: &Record,
    replace: bool,
    notifier: &Notifier,
    signals: &mut Signals,
) -> Result<(), Error> {
    let records = place.records();
    loop {
        let lock = records.lock()?;
        let mut all = records.all()?.records.into_iter();
        let Some(other) = all.find(|other| other.name == record.name) else {
            if let Some(pod) = Pods::open(place).all()?.iter().find(|pod| pod.name == record.name) {
                let id = pod.id.short().to_owned();
                return Err(Error::NameInUse { name: pod.name.clone(), what: "pod", id });
            }
            // Its image may have been removed since it was chosen: that takes the same lock, and from
            // now on leaves it alone.
            if !place.store()?.has(&record.image.manifest)? {
                return Err(Error::NoSuchImage(record.reference.to_string()));
            }
            records.write(record)?;
            events::of_container(place, record, "create");
            return Ok(());
        };
        if !replace && (other.is_running() || !other.remove) {
            let id = other.id.short().to_owned();
            return Err(Error::NameInUse { name: other.name, what: "container", id });
        }
        if other.is_running() {
            drop(lock);
            notifier.extend(Duration::from_secs(other.stop_timeout.into()) + 3 * CLEARING);
            stop(&other, None)?;
        } else {
            let discarded = clear_away(place, &other)?;
            drop(lock);
            discarded.into_iter().for_each(Discarded::remove);
        }
        signals.check()?;
    }
}

/// Writes the ID into a new file; one of an earlier container is replaced, as Podman's own units
/// expect of a start after a crash.
pub(crate) fn write_cidfile(path: &Path, id: &ContainerId) -> Result<(), Error> {
    std::fs::write(path, id.as_str())
        .map_err(|source| Error::file("write the container ID to", path, source))
}

/// Clears away all that is left of a container whose supervisor is gone. What it wrote is only out
/// of the way then: whoever holds a lock removes that without it.
pub(crate) fn clear_away(place: &Place, record: &Record) -> Result<Vec<Discarded>, Error> {
    // Its container may have been started since it was looked at.
    let now = place.records().get(&record.id)?;
    let record = now.as_ref().unwrap_or(record);
    if let Some(init) = record.pid.filter(Process::is_alive) {
        // Its launcher was killed, and the container outlived it.
        send_to(record, init, libc::SIGKILL)?;
        wait_for_end(init, CLEARING)?;
    }
    if let Some(path) = &record.cgroup {
        cgroup::clear_recorded(path, &record.id);
    }
    if let Some(cidfile) = &record.cidfile {
        remove_cidfile(cidfile, &record.id);
    }
    let mut discarded = Vec::new();
    if record.remove {
        discarded.extend(users::discard_anonymous(place, record));
    }
    discarded.extend(remove_files(place, &record.id)?);
    Ok(discarded)
}

/// A cidfile that names another container by now is not ours to remove.
pub(crate) fn remove_cidfile(path: &Path, id: &ContainerId) {
    if std::fs::read_to_string(path).is_ok_and(|text| text.trim() == id.as_str()) {
        let _ = std::fs::remove_file(path);
    }
}

/// Sends a signal to a container's first process. Where that is another user of another user
/// namespace than ours, its supervisor passes it on, which is the same user in all of them; and
/// SIGKILL, which cannot be passed on, goes by the cgroup.
pub(crate) fn send_to(record: &Record, init: Process, number: i32) -> Result<(), Error> {
    match (try_send(init, number), &record.cgroup, record.supervisor) {
        (Err(Errno::PERM), Some(cgroup), _) if number == libc::SIGKILL => {
            cgroup::kill_recorded(cgroup, &record.id);
            Ok(())
        }
        (Err(Errno::PERM), _, Some(supervisor)) => send(supervisor, number),
        (sent, ..) => sent.map_err(|source| Error::system("send a signal", source)),
    }
}

/// Sends a signal to this very process; one that is gone is no error.
pub(crate) fn send(process: Process, number: i32) -> Result<(), Error> {
    try_send(process, number).map_err(|source| Error::system("send a signal", source))
}

fn try_send(process: Process, number: i32) -> rustix::io::Result<()> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(()) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        pidfd => pidfd?,
    };
    // The number may have been given to another process before the descriptor was had.
    if !process.is_alive() {
        return Ok(());
    }
    // SAFETY: any number is allowed; the kernel refuses those that are no signals.
    let number = unsafe { rustix::process::Signal::from_raw_unchecked(number) };
    match pidfd_send_signal(&pidfd, number) {
        Err(Errno::SRCH) => Ok(()),
        sent => sent,
    }
}

/// Waits until a process, of which we need not be the parent, has ended; whether it has.
fn wait_for_end(process: Process, timeout: Duration) -> Result<bool, Error> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(true) };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(true) };
    let deadline = Instant::now() + timeout;
    while process.is_alive() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut polled = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let left = rustix::time::Timespec::try_from(left).ok();
        match rustix::event::poll(&mut polled, left.as_ref()) {
            Ok(0) => return Ok(false),
            // A zombie is readable: it has ended, whoever reaps it.
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::system("wait for a process", error)),
        }
    }
    Ok(true)
}
