//! Which containers use a named volume, and removing those that none does.

use crate::launch::place::Place;
use crate::launch::storage::volumes::Volumes;
use crate::launch::storage::writable::Discarded;
use crate::model::ContainerId;
use crate::store::containers::{Found, Record};

/// The containers that use the volume, running or not.
pub(crate) fn of<'a>(found: &'a Found, volume: &str) -> Vec<&'a Record> {
    let uses = |record: &&Record| record.volumes.iter().any(|used| used.name == volume);
    found.records.iter().filter(uses).collect()
}

/// Takes the anonymous volumes of a container out of the way that nobody else uses. Its record, and
/// the lock of all records, are the caller's.
pub(crate) fn discard_anonymous(place: &Place, record: &Record) -> Vec<Discarded> {
    let mut discarded = Vec::new();
    if record.volumes.iter().any(|used| used.anonymous) {
        match place.records().all() {
            Ok(found) => {
                for used in record.volumes.iter().filter(|used| used.anonymous) {
                    if of(&found, &used.name).iter().any(|user| user.id != record.id) {
                        continue;
                    }
                    match Volumes::open(place).discard(&used.name) {
                        Ok(volume) => discarded.extend(volume),
                        Err(error) => warn(&error),
                    }
                }
            }
            Err(error) => warn(&error),
        }
    }
    discarded
}

/// A container of which nobody can tell what it uses.
pub(crate) fn unknown(place: &Place, found: &Found) -> Option<ContainerId> {
    if let Some(id) = found.unreadable.first() {
        return Some(id.clone());
    }
    let kept = std::fs::read_dir(place.containers()).into_iter().flatten().flatten();
    let mut ids = kept.filter_map(|entry| entry.file_name().to_str()?.parse::<ContainerId>().ok());
    ids.find(|id| found.records.iter().all(|record| record.id != *id))
}

fn warn(error: &dyn std::error::Error) {
    eprintln!("Warning: {}, ignoring", crate::model::failure::chain(error));
}
