//! What a container leaves on the host, and clearing it away: at its own end, or, where its
//! launcher was killed or the power cut, when a launcher next looks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::launch::Error;
use crate::launch::events;
use crate::launch::isolation::cgroup;
use crate::launch::isolation::cgroup::Payload;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::network;
use crate::launch::network::join::Joined;
use crate::launch::place::Place;
use crate::launch::storage::writable::{Discarded, InUse};
use crate::launch::storage::{hold, users, writable};
use crate::model::ContainerId;
use crate::model::failure::chain;
use crate::store::containers::Record;

/// The traces of the container that this process runs. Cleared away when dropped, however the
/// launch ends; a container that ran and was not to be removed keeps its files.
pub(crate) struct Traces<'a> {
    pub(crate) place: &'a Place,
    pub(crate) id: ContainerId,
    pub(crate) cidfile: Option<PathBuf>,
    /// Each with the process ID in it.
    pidfiles: Vec<(PathBuf, i32)>,
    pub(crate) payload: Option<Payload>,
    pub(crate) writable: Option<InUse>,
    pub(crate) network: Option<Joined>,
    pub(crate) keep: bool,
}

impl<'a> Traces<'a> {
    /// None but the record yet.
    pub(crate) fn new(place: &'a Place, id: ContainerId) -> Self {
        Self {
            place,
            id,
            cidfile: None,
            pidfiles: Vec::new(),
            payload: None,
            writable: None,
            network: None,
            keep: false,
        }
    }

    /// Writes a process ID for others to read, as long as the process runs.
    pub(crate) fn write_pidfile(&mut self, path: &Path, pid: i32) -> Result<(), Error> {
        std::fs::write(path, pid.to_string())
            .map_err(|source| Error::file("write the process ID to", path, source))?;
        self.pidfiles.push((path.to_owned(), pid));
        Ok(())
    }
}

impl Drop for Traces<'_> {
    fn drop(&mut self) {
        if let Some(payload) = &self.payload {
            payload.remove();
        }
        if let Some(Err(error)) = self.network.take().map(|network| network.end(self.place)) {
            warn(&error.into());
        }
        for (path, pid) in &self.pidfiles {
            // One that names another process by now is not ours to remove.
            if std::fs::read_to_string(path).is_ok_and(|text| text == pid.to_string()) {
                let _ = std::fs::remove_file(path);
            }
        }
        if self.keep {
            return;
        }
        if let Some(cidfile) = &self.cidfile {
            containers::remove_cidfile(cidfile, &self.id);
        }
        // Nobody but this container had them.
        if let Ok(Some(record)) = self.place.records().get(&self.id) {
            users::discard_anonymous(self.place, &record).into_iter().for_each(Discarded::remove);
        }
        match remove_files(self.place, &self.id) {
            Ok(discarded) => discarded.into_iter().for_each(Discarded::remove),
            Err(error) => warn(&error),
        }
    }
}

/// Removes a container's files. The record goes last: as long as it is there, so is the name.
/// Nothing but a record that stays keeps the name from being free.
pub(crate) fn remove_files(place: &Place, id: &ContainerId) -> Result<Option<Discarded>, Error> {
    let discarded = writable::discard(place, id).unwrap_or_else(|error| {
        warn(&error);
        None
    });
    remove_runtime(place, id);
    let record = place.records().get(id).ok().flatten();
    place.records().remove(id)?;
    if let Some(record) = record {
        events::of_container(place, &record, "remove");
    }
    Ok(discarded)
}

/// The runtime's own files.
pub(crate) fn remove_runtime(place: &Place, id: &ContainerId) {
    let path = place.runtime().join(id.as_str());
    if let Err(error) = disk::remove_tree(&path) {
        warn(&Error::file("remove", path, error));
    }
}

/// Clears away what launchers that were killed, and hosts that lost their power, have left. What
/// cannot be cleared away now keeps nobody from anything: it is said, and tried again next time.
pub(crate) fn reconcile(place: &Place) {
    match leftovers(place) {
        Ok(discarded) => discarded.into_iter().for_each(Discarded::remove),
        Err(error) => warn(&error),
    }
    network::reconcile(place);
}

/// Takes leftovers out of the way, under the lock that keeps others from taking names; to be
/// removed without it.
fn leftovers(place: &Place) -> Result<Vec<Discarded>, Error> {
    let records = place.records();
    let _lock = records.lock()?;
    // An ordinary user who only wants to see is not root of what is to be removed.
    let may_remove = place.has_entered();
    let found = records.all()?;
    hold::sweep(place)?;
    let mut discarded = Vec::new();
    let mut known: BTreeSet<ContainerId> = found.unreadable.into_iter().collect();
    for record in found.records {
        if may_remove {
            match clear_stale(place, &record) {
                Ok(freed) => discarded.extend(freed),
                Err(error) => warn(&error),
            }
        }
        known.insert(record.id);
    }
    for id in found.empty.iter().filter(|_| may_remove) {
        records.remove(id)?;
    }
    for id in unknown(&place.containers(), &known)? {
        if writable::is_in_use(place, &id)
            || restore(place, &id, may_remove.then_some(&mut discarded))?
            || !may_remove
        {
            continue;
        }
        discarded.extend(writable::discard_unused(place, &id)?);
    }
    for id in unknown(&place.runtime(), &known)?.iter().filter(|_| may_remove) {
        remove_runtime(place, id);
    }
    Ok(discarded)
}

/// Whether the container was made to be kept: its record, which a reboot took, is there again then.
fn restore(
    place: &Place,
    id: &ContainerId,
    discarded: Option<&mut Vec<Discarded>>,
) -> Result<bool, Error> {
    match Definition::read(place, id) {
        Ok(Definition { record, .. }) if !record.remove => {
            place.records().write(&record)?;
            Ok(true)
        }
        Ok(Definition { record, .. }) => {
            if let Some(discarded) = discarded {
                discarded.extend(users::discard_anonymous(place, &record));
            }
            Ok(false)
        }
        Err(Error::NoDefinition(_)) => Ok(false),
        Err(error) => {
            // It may be a newer version's: what it names cannot be known.
            warn(&error);
            Ok(true)
        }
    }
}

/// A container that has ended keeps nothing running, and nothing at all where it was to go.
fn clear_stale(place: &Place, record: &Record) -> Result<Vec<Discarded>, Error> {
    if record.is_running() {
        return Ok(Vec::new());
    }
    if record.remove {
        return containers::clear_away(place, record);
    }
    if let Some(path) = &record.cgroup {
        cgroup::clear_recorded(path, &record.id);
    }
    Ok(Vec::new())
}

/// The containers that have something in `directory`, but not one of `known`.
fn unknown(directory: &Path, known: &BTreeSet<ContainerId>) -> Result<Vec<ContainerId>, Error> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| Error::file("list", directory, source))?,
    };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(ids.filter(|id| !known.contains(id)).collect())
}

fn warn(error: &Error) {
    eprintln!("Warning: {}, ignoring", chain(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_record_names_goes() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::below(directory.path());
        let ids = ['a', 'b'].map(|c| c.to_string().repeat(64).parse::<ContainerId>().unwrap());
        let [left, broken] = &ids;
        for id in &ids {
            std::fs::create_dir_all(place.writable(id).join("upper/sub")).unwrap();
            std::fs::create_dir_all(place.runtime().join(id.as_str())).unwrap();
            std::fs::create_dir_all(place.records().directory(id)).unwrap();
        }
        // What it names cannot be known: it may be a newer version's.
        std::fs::write(place.records().directory(broken).join("record.json"), "{").unwrap();
        reconcile(&place);
        assert!(!place.writable(left).exists());
        assert!(!place.runtime().join(left.as_str()).exists());
        assert!(!place.records().directory(left).exists());
        assert!(place.writable(broken).join("upper/sub").is_dir());
        assert!(place.runtime().join(broken.as_str()).is_dir());
        assert_eq!(std::fs::read_dir(place.state.join("tmp")).unwrap().count(), 0);
    }
}
