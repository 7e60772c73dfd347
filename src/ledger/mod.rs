//! Edge: what is remembered on disk. History, quarantine, rollouts in flight, what checks learnt,
//! and the lock that makes passes exclusive.
//!
//! Every file is small, is replaced whole (written aside, flushed, renamed, directory flushed), or
//! grows by whole lines, and is JSON with a schema and a checksum ([`seal`]). What is damaged is set
//! aside ([`mend`]). What must not live here: any decision about what is written.

mod error;
mod file;
mod history;
pub mod lock;
mod mend;
mod seal;
pub mod spool;

use std::fs;
use std::path::{Path, PathBuf};

pub use error::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

use file::{read_if_whole, read_json, write_json};
pub use lock::PassLock;

use crate::disk::{Lock, Mode};
use crate::model::{Digest, Failure};
use crate::plan::probation::Probation;
use crate::plan::{Approvals, Holds, Memory, Quarantine, Quarantined, Rollout};
use crate::update::port::{self, InFlight};
use crate::update::report::Entry;

/// What was read of the history.
#[derive(Debug)]
pub struct History {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Lines that are no entries.
    pub damaged: Vec<Error>,
}

/// The ledger of one host or one user, below `STATE/ledger`.
#[derive(Debug, Clone)]
pub struct Ledger {
    dir: PathBuf,
}

impl Ledger {
    /// Opens the ledger below `dir` without touching the disk: what is not there yet reads as
    /// empty, so that reading verbs work on a fresh host and as anybody who may read.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The newest `limit` entries of those that are `asked` for.
    ///
    /// # Errors
    /// Where the file cannot be read at all.
    pub fn history(&self, limit: usize, asked: impl Fn(&Entry) -> bool) -> Result<History, Error> {
        history::read(&self.dir, limit, asked)
    }

    /// All images that are not tried again.
    ///
    /// # Errors
    /// Where the file cannot be read. One that is damaged says nothing: see [`Ledger::damage`].
    pub fn quarantine(&self) -> Result<Quarantine, Error> {
        read_if_whole(&self.quarantine_file()).map(Option::unwrap_or_default)
    }

    /// What is to be written again must be whole.
    fn whole_quarantine(&self) -> Result<Quarantine, Error> {
        read_json(&self.quarantine_file()).map(Option::unwrap_or_default)
    }

    /// Lets the quarantined images that `matches` be tried again, and returns them. The caller
    /// holds the pass lock.
    ///
    /// # Errors
    /// Where the file is damaged, or cannot be read or written.
    pub fn clear_quarantine(
        &self,
        matches: impl Fn(&Quarantined) -> bool,
    ) -> Result<Vec<Quarantined>, Error> {
        let mut quarantine = self.whole_quarantine()?;
        let gone = quarantine.clear(matches);
        if !gone.is_empty() {
            write_json(&self.quarantine_file(), &quarantine)?;
        }
        Ok(gone)
    }

    /// Changes which units an operator has left alone, also while a pass is under way.
    ///
    /// # Errors
    /// Where the file is damaged, or cannot be read or written.
    pub fn change_holds<T>(&self, change: impl FnOnce(&mut Holds) -> T) -> Result<T, Error> {
        self.change(&self.holds_file(), change)
    }

    /// Changes which images are approved, also while a pass is under way.
    ///
    /// # Errors
    /// As [`Ledger::change_holds`].
    pub fn change_approvals<T>(
        &self,
        change: impl FnOnce(&mut Approvals) -> T,
    ) -> Result<T, Error> {
        self.change(&self.approvals_file(), change)
    }

    /// Changes a file that no pass writes. What is to be written again must be whole.
    fn change<F, T>(&self, path: &Path, change: impl FnOnce(&mut F) -> T) -> Result<T, Error>
    where
        F: DeserializeOwned + Serialize + Default + PartialEq + Clone,
    {
        let failed = |source| Error::Write { path: path.to_owned(), source };
        let lock = self.dir.join("operator.lock");
        file::make_parent(&lock).map_err(failed)?;
        let _lock = Lock::wait(&lock, Mode::Exclusive).map_err(failed)?;
        let before: F = read_json(path)?.unwrap_or_default();
        let mut after = before.clone();
        let answer = change(&mut after);
        if after != before {
            write_json(path, &after)?;
        }
        Ok(answer)
    }

    /// The rollouts that have not ended, oldest first.
    ///
    /// # Errors
    /// Where a file cannot be read. One that is damaged is left out: see [`Ledger::damage`].
    pub fn in_flight(&self) -> Result<Vec<InFlight>, Error> {
        let mut found = Vec::new();
        for path in self.rollout_files()? {
            found.extend(read_if_whole::<InFlight>(&path)?);
        }
        found.sort_by_key(|flight| flight.started);
        Ok(found)
    }

    /// What units are to prove by their next run, oldest first.
    ///
    /// # Errors
    /// Where the file cannot be read. One that is damaged says nothing: see [`Ledger::damage`].
    pub fn probations(&self) -> Result<Vec<Probation>, Error> {
        read_if_whole(&self.probation_file()).map(Option::unwrap_or_default)
    }

    /// All but that of the same unit and reference; what is to be written again must be whole.
    fn without(&self, probation: &Probation) -> Result<Vec<Probation>, Error> {
        let mut all: Vec<Probation> = read_json(&self.probation_file())?.unwrap_or_default();
        let Probation { engine, unit, .. } = probation;
        all.retain(|other| !other.is_of(*engine, unit, probation.reference()));
        Ok(all)
    }

    fn probation_file(&self) -> PathBuf {
        self.dir.join("probation.json")
    }

    fn rollout_files(&self) -> Result<Vec<PathBuf>, Error> {
        let dir = self.rollouts_dir();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(source) => return Err(Error::Read { path: dir, source }),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| Error::Read { path: dir.clone(), source })?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                found.push(path);
            }
        }
        Ok(found)
    }

    fn quarantine_file(&self) -> PathBuf {
        self.dir.join("quarantine.json")
    }

    fn holds_file(&self) -> PathBuf {
        self.dir.join("holds.json")
    }

    fn approvals_file(&self) -> PathBuf {
        self.dir.join("approvals.json")
    }

    fn memory_file(&self) -> PathBuf {
        self.dir.join("checks.json")
    }

    fn rollouts_dir(&self) -> PathBuf {
        self.dir.join("rollouts")
    }

    /// One file for each (engine, reference, image), so that a rollout begun again replaces itself.
    fn rollout_file(&self, flight: &InFlight) -> PathBuf {
        let Rollout { engine, source, new, .. } = &flight.rollout;
        let key = format!("{engine:?} {} {}", source.reference, new.manifest);
        self.rollouts_dir().join(format!("{}.json", Digest::of(key.as_bytes()).short()))
    }
}

impl AsRef<Self> for Ledger {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl port::Ledger for Ledger {
    fn mend(&self) -> Result<Vec<String>, Failure> {
        Ok(self.mend()?)
    }

    fn damage(&self) -> Result<Vec<String>, Failure> {
        Ok(self.damage()?)
    }

    fn quarantine(&self) -> Result<Quarantine, Failure> {
        Ok(self.quarantine()?)
    }

    fn add_to_quarantine(&self, entry: Quarantined) -> Result<(), Failure> {
        let mut quarantine = self.whole_quarantine()?;
        quarantine.add(entry);
        Ok(write_json(&self.quarantine_file(), &quarantine)?)
    }

    fn drop_from_quarantine(&self, over: &dyn Fn(&Quarantined) -> bool) -> Result<(), Failure> {
        Ok(self.clear_quarantine(over).map(drop)?)
    }

    fn holds(&self) -> Result<Holds, Failure> {
        Ok(read_if_whole(&self.holds_file())?.unwrap_or_default())
    }

    fn approvals(&self) -> Result<Approvals, Failure> {
        Ok(read_if_whole(&self.approvals_file())?.unwrap_or_default())
    }

    fn memory(&self) -> Result<Memory, Failure> {
        // What checks learnt can be learnt again: it costs a few requests, not a night.
        Ok(read_if_whole(&self.memory_file())?.unwrap_or_default())
    }

    fn save_memory(&self, memory: &Memory) -> Result<(), Failure> {
        if &self.memory()? == memory {
            return Ok(());
        }
        Ok(write_json(&self.memory_file(), memory)?)
    }

    fn in_flight(&self) -> Result<Vec<InFlight>, Failure> {
        Ok(self.in_flight()?)
    }

    fn save_rollout(&self, rollout: &InFlight) -> Result<(), Failure> {
        Ok(write_json(&self.rollout_file(rollout), rollout)?)
    }

    fn end_rollout(&self, rollout: &InFlight) -> Result<(), Failure> {
        Ok(file::remove(&self.rollout_file(rollout))?)
    }

    fn probations(&self) -> Result<Vec<Probation>, Failure> {
        Ok(self.probations()?)
    }

    fn save_probation(&self, probation: &Probation) -> Result<(), Failure> {
        let mut all = self.without(probation)?;
        all.push(probation.clone());
        Ok(write_json(&self.probation_file(), &all)?)
    }

    fn end_probation(&self, probation: &Probation) -> Result<(), Failure> {
        Ok(write_json(&self.probation_file(), &self.without(probation)?)?)
    }

    fn append(&self, entry: &Entry) -> Result<(), Failure> {
        Ok(history::append(&self.dir, entry)?)
    }
}

#[cfg(test)]
mod tests;
