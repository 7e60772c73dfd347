//! Damaged files: set aside for whoever wants to look at them, so that the rest is of use.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::file::{read_with_schema, write_json};
use super::seal::SCHEMA;
use super::{Error, Ledger, history};
use crate::disk;
use crate::model::failure::chain;
use crate::plan::probation::Probation;
use crate::plan::{Approvals, Holds, Memory, Quarantine};
use crate::update::port::InFlight;

/// What the name of a file that was set aside has behind its own, before the time.
const MARK: &str = ".damaged-";

/// So many of them stay in each directory, the newest.
const KEPT: usize = 8;

/// What the ledger goes on without.
const WITHOUT_QUARANTINE: &str = "images that failed before may be tried again";
const WITHOUT_MEMORY: &str = "what checks had learnt they learn again";
const WITHOUT_PROBATION: &str =
    "units that wait for their next run keep what they were given, however it ends";
const WITHOUT_HOLDS: &str =
    "units that were held may be updated: hold them again (\"updaterctl hold\")";
const WITHOUT_APPROVALS: &str = "images that were approved have to be approved again";
const WITHOUT_ROLLOUT: &str =
    "an update was under way, and what became of it is not known: look at \"updaterctl status\"";
const WITHOUT_LINES: &str = "the other entries are kept";

/// A file that was damaged.
#[derive(Debug)]
struct Damage {
    path: PathBuf,
    why: String,
    without: &'static str,
    /// What is still good of it.
    rest: Option<Vec<u8>>,
}

impl Ledger {
    /// Sets damaged files aside, and writes anew what is in an older schema. Says what was set aside.
    /// The caller holds the pass lock.
    ///
    /// # Errors
    /// Where a file is of a newer schema, and nothing was changed; where the disk fails.
    pub fn mend(&self) -> Result<Vec<String>, Error> {
        let damaged = self.find_damage()?;
        let mut told = Vec::new();
        for damage in damaged {
            let aside = aside(&damage)?;
            let Damage { path, why, without, .. } = damage;
            let (path, aside) = (path.display(), aside.display());
            told.push(format!("{path} was damaged ({why}); it is now {aside}, and {without}"));
        }
        history::drop_unfinished(&self.dir)?;
        self.migrate()?;
        for directory in [&self.dir, &self.rollouts_dir()] {
            drop_oldest(directory);
        }
        Ok(told)
    }

    /// What is damaged, without doing anything about it.
    ///
    /// # Errors
    /// As [`Ledger::mend`].
    pub fn damage(&self) -> Result<Vec<String>, Error> {
        let describe = |Damage { path, why, .. }: &Damage| {
            format!("{} is damaged ({why}); the next pass sets it aside", path.display())
        };
        Ok(self.find_damage()?.iter().map(describe).collect())
    }

    /// The files that were set aside.
    pub fn set_aside(&self) -> Vec<PathBuf> {
        let mut found = set_aside_in(&self.dir);
        found.extend(set_aside_in(&self.rollouts_dir()));
        found
    }

    fn find_damage(&self) -> Result<Vec<Damage>, Error> {
        let mut found = Vec::new();
        found.extend(look::<Quarantine>(self.quarantine_file(), WITHOUT_QUARANTINE)?);
        found.extend(look::<Memory>(self.memory_file(), WITHOUT_MEMORY)?);
        found.extend(look::<Vec<Probation>>(self.probation_file(), WITHOUT_PROBATION)?);
        found.extend(look::<Holds>(self.holds_file(), WITHOUT_HOLDS)?);
        found.extend(look::<Approvals>(self.approvals_file(), WITHOUT_APPROVALS)?);
        for path in self.rollout_files()? {
            found.extend(look::<InFlight>(path, WITHOUT_ROLLOUT)?);
        }
        for path in history::files(&self.dir) {
            if let Some(rest) = history::sound_lines(&path)? {
                let why = "some lines are no entries, or not as they were written".to_owned();
                found.push(Damage { path, why, without: WITHOUT_LINES, rest: Some(rest) });
            }
        }
        Ok(found)
    }

    /// Lines of the history stay as they are until they go.
    fn migrate(&self) -> Result<(), Error> {
        renew::<Quarantine>(&self.quarantine_file())?;
        renew::<Holds>(&self.holds_file())?;
        renew::<Approvals>(&self.approvals_file())?;
        renew::<Memory>(&self.memory_file())?;
        renew::<Vec<Probation>>(&self.probation_file())?;
        self.rollout_files()?.iter().try_for_each(|path| renew::<InFlight>(path))
    }
}

fn look<T: DeserializeOwned>(
    path: PathBuf,
    without: &'static str,
) -> Result<Option<Damage>, Error> {
    match read_with_schema::<T>(&path) {
        Err(Error::Damaged { path, source }) => {
            Ok(Some(Damage { path, why: chain(&source), without, rest: None }))
        }
        Err(error) => Err(error),
        Ok(_) => Ok(None),
    }
}

fn renew<T: DeserializeOwned + Serialize>(path: &Path) -> Result<(), Error> {
    match read_with_schema::<T>(path)? {
        Some((value, schema)) if schema < SCHEMA => write_json(path, &value),
        _ => Ok(()),
    }
}

/// Gives a file another name, which is returned; what is good of it has its name again.
fn aside(damage: &Damage) -> Result<PathBuf, Error> {
    let Damage { path, rest, .. } = damage;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ");
    let to = path.with_file_name(format!("{name}{MARK}{time}"));
    let moved = match rest {
        None => disk::rename_within(path, &to),
        // A crash in between leaves the damaged file where it was.
        Some(rest) => disk::link_within(path, &to).and_then(|()| disk::replace(path, rest)),
    };
    moved.map_err(|source| Error::Write { path: path.clone(), source })?;
    Ok(to)
}

/// Sorted by time.
fn set_aside_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return vec![] };
    let paths = entries.flatten().map(|entry| entry.path());
    let time = |path: &PathBuf| Some(path.file_name()?.to_str()?.rsplit_once(MARK)?.1.to_owned());
    let mut found: Vec<PathBuf> = paths.filter(|path| time(path).is_some()).collect();
    found.sort_by_key(time);
    found
}

fn drop_oldest(directory: &Path) {
    let found = set_aside_in(directory);
    for path in found.iter().rev().skip(KEPT) {
        // It is tried again at the next pass.
        let _ = disk::remove(path);
    }
}
