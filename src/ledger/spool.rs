//! What is still to be told to those that want to hear how updates ended: one file for each, below
//! `STATE/ledger/notify`, until it was taken.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use super::file::{self, read_json, write_json};
use crate::disk;
use crate::model::{Digest, OutcomeKind};
use crate::update::Event;

/// So much is kept for each of them: what nobody takes must not fill the disk.
const MOST: usize = 200;

/// How an update ended, to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same each time that it is told, and each time that it is written down: after a crash both may
    /// happen again.
    pub id: String,
    pub at: Timestamp,
    pub host: String,
    pub outcome: OutcomeKind,
    /// One line for people.
    pub message: String,
    pub event: Event,
}

impl Notice {
    pub fn new(at: Timestamp, host: String, outcome: OutcomeKind, event: Event) -> Self {
        // What is no rollout's end happens once.
        let origin = event.origin.as_ref();
        let (since, engine) = origin.map_or((at, None), |end| (end.started, Some(end.engine)));
        let about = (engine, &event.unit, &event.reference, &event.new);
        let hash = Digest::of(format!("{since} {outcome} {about:?}").as_bytes());
        let id = format!("{:020}-{}", since.as_microsecond(), hash.short());
        Self { id, at, host, outcome, message: String::new(), event }
    }
}

/// What is to be told, by the way on which it is.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
}

impl Spool {
    /// Does not touch the disk.
    pub fn new(ledger: &Path) -> Self {
        Self { dir: ledger.join("notify") }
    }

    /// Writes a notice down, durably, in place of one with its ID. The oldest go where there are too
    /// many: how many is returned. The caller holds the pass lock.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn put(&self, way: &str, notice: &Notice) -> Result<usize, Error> {
        write_json(&self.file(way, &notice.id), notice)?;
        let names = self.names(way)?;
        let surplus = names.len().saturating_sub(MOST);
        for name in names.iter().take(surplus) {
            file::remove(&self.file(way, name))?;
        }
        Ok(surplus)
    }

    /// The right to tell on a way, until it is dropped: one process does at a time, so that nothing is
    /// told twice at once. `None` while another has it.
    ///
    /// # Errors
    /// Where the lock cannot be taken.
    pub fn turn(&self, way: &str) -> Result<Option<disk::Lock>, Error> {
        let path = self.dir.join(format!("{way}.lock"));
        let taken = disk::make_private(&self.dir).and_then(|()| disk::Lock::try_exclusive(&path));
        taken.map_err(|source| Error::Write { path, source })
    }

    /// What is to be told on a way, oldest first. A file that is none of ours is left out, and removed:
    /// nobody could tell it.
    ///
    /// # Errors
    /// Where the directory or a file cannot be read.
    pub fn waiting(&self, way: &str) -> Result<Vec<Notice>, Error> {
        let mut found = Vec::new();
        for name in self.names(way)? {
            let path = self.file(way, &name);
            match read_json(&path) {
                Ok(notice) => found.extend(notice),
                Err(Error::Damaged { .. }) => {
                    file::remove(&path)?;
                    let path = path.display();
                    tracing::warn!(target: "updaterd", "{path} is damaged, and removed: it is not told");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// It was told, or it is too late.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    pub fn remove(&self, way: &str, id: &str) -> Result<(), Error> {
        file::remove(&self.file(way, id))
    }

    /// The IDs of what is to be told on a way, oldest first.
    fn names(&self, way: &str) -> Result<Vec<String>, Error> {
        let failed = |source| Error::Read { path: self.dir.clone(), source };
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if disk::is_absent(&error) => return Ok(vec![]),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name().into_string().unwrap_or_default();
            names.extend(name.strip_suffix(&format!(".{way}.json")).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    fn file(&self, way: &str, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.{way}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EngineKind;
    use crate::update::{EventKind, Origin};

    fn notice(second: i64) -> Notice {
        let at = Timestamp::from_second(second).unwrap();
        let event = Event::new(EventKind::RolledBack);
        Notice::new(at, "host".into(), OutcomeKind::RolledBack, event)
    }

    #[test]
    fn what_was_put_waits_on_its_way_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        assert_eq!(spool.waiting("webhook").unwrap(), []);
        for second in [12, 3] {
            assert_eq!(spool.put("webhook", &notice(second)).unwrap(), 0);
        }
        spool.put("command", &notice(3)).unwrap();
        assert_eq!(spool.waiting("webhook").unwrap(), [notice(3), notice(12)]);
        spool.remove("webhook", &notice(3).id).unwrap();
        assert_eq!(spool.waiting("webhook").unwrap(), [notice(12)]);
        assert_eq!(spool.waiting("command").unwrap(), [notice(3)]);
    }

    #[test]
    fn an_end_that_is_written_down_again_waits_once() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        let end = |second, started, outcome| {
            let notice = notice(second);
            let started = Timestamp::from_second(started).unwrap();
            let origin = Some(Origin { started, engine: EngineKind::Native });
            let elapsed_ms = Some(second.unsigned_abs());
            let event = Event { origin, elapsed_ms, ..notice.event };
            Notice::new(notice.at, notice.host, outcome, event)
        };
        let (first, again) =
            (end(12, 3, OutcomeKind::RolledBack), end(50, 3, OutcomeKind::RolledBack));
        for notice in [&first, &again] {
            spool.put("webhook", notice).unwrap();
        }
        assert_eq!(spool.waiting("webhook").unwrap(), [again]);
        for other in [end(50, 4, OutcomeKind::RolledBack), end(50, 3, OutcomeKind::Failed)] {
            spool.put("webhook", &other).unwrap();
        }
        assert_eq!(spool.waiting("webhook").unwrap().len(), 3, "another rollout, and another end");
    }

    #[test]
    fn the_oldest_goes_where_nobody_takes_any() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        let surplus: usize =
            (0..).take(MOST + 2).map(|second| spool.put("webhook", &notice(second)).unwrap()).sum();
        let waiting = spool.waiting("webhook").unwrap();
        assert_eq!((surplus, waiting.len()), (2, MOST));
        assert_eq!(waiting.first(), Some(&notice(2)));
    }

    #[test]
    fn one_process_tells_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Spool::new(dir.path()), Spool::new(dir.path()));
        let turn = one.turn("webhook").unwrap();
        assert!(turn.is_some());
        assert!(other.turn("webhook").unwrap().is_none());
        assert!(other.turn("command").unwrap().is_some(), "each way has its own");
        drop(turn);
        assert!(other.turn("webhook").unwrap().is_some());
    }

    #[test]
    fn what_nobody_can_read_goes() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path());
        spool.put("webhook", &notice(1)).unwrap();
        let torn = dir.path().join("notify/0.webhook.json");
        fs::write(&torn, "{").unwrap();
        assert_eq!(spool.waiting("webhook").unwrap(), [notice(1)]);
        assert!(!torn.exists());
    }
}
