//! The history: one sealed document a line, newest last.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::file::make_parent;
use super::seal::{self, Fault};
use super::{Error, History};
use crate::disk;
use crate::update::report::Entry;

/// At this size the file becomes `history.1.jsonl`, and the one of that name before is dropped.
pub(super) const ROTATE_AT: u64 = if cfg!(test) { 4 << 10 } else { 4 << 20 };

/// How much of the end is looked at first for an entry that is there already.
const TAIL: u64 = if cfg!(test) { 100 } else { 64 << 10 };

/// Adds an entry, unless it is there: a rollout that a crash kept from being forgotten ends again.
pub(super) fn append(dir: &Path, entry: &Entry) -> Result<(), Error> {
    let path = current(dir);
    let line = seal::seal(entry)?;
    let write = || {
        make_parent(&path)?;
        if is_there(dir, entry)? {
            return Ok(());
        }
        let length = fs::metadata(&path).map(|metadata| metadata.len()).unwrap_or_default();
        if length >= ROTATE_AT {
            disk::rename_within(&path, &previous(dir))?;
        }
        disk::append_line(&path, &line)
    };
    write().map_err(|source| Error::Write { path: path.clone(), source })
}

fn is_there(dir: &Path, entry: &Entry) -> io::Result<bool> {
    let Some(pass) = entry.pass else { return Ok(false) };
    for path in [current(dir), previous(dir)] {
        let mut most = TAIL;
        loop {
            let end = end_of(&path, most)?;
            if let Some(is_there) = find(&end, entry, pass) {
                return Ok(is_there);
            }
            if (end.len() as u64) < most {
                break;
            }
            most = most.saturating_mul(2);
        }
    }
    Ok(false)
}

/// Looks from the newest line back to what had ended when the pass began: how long entries are, and
/// which other rollouts ended in between, does not matter. `None` where these lines do not tell.
fn find(lines: &[u8], entry: &Entry, pass: Timestamp) -> Option<bool> {
    for line in lines.rsplit(|byte| *byte == b'\n') {
        let Ok((other, _)) = seal::open::<Entry>(line) else { continue };
        if is_same(&other, entry) {
            return Some(true);
        }
        if other.ended < pass && other.pass != entry.pass {
            return Some(false);
        }
    }
    None
}

/// Whether both are the end of one rollout for one unit.
fn is_same(one: &Entry, other: &Entry) -> bool {
    let key = |entry: &Entry| {
        let outcome = &entry.outcome;
        let image = (outcome.reference.clone(), outcome.old.clone(), outcome.new.clone());
        (entry.pass, entry.engine, outcome.unit.clone(), image, outcome.result)
    };
    key(one) == key(other)
}

pub(super) fn read(
    dir: &Path,
    limit: usize,
    asked: impl Fn(&Entry) -> bool,
) -> Result<History, Error> {
    let mut newest = VecDeque::new();
    let mut damaged = Vec::new();
    for path in files(dir) {
        each_line(&path, |line, _, read| {
            match read {
                Ok(entry) if asked(&entry) => newest.push_back(entry),
                Ok(_) => {}
                Err(fault) if fault.is_of_another_version() => {
                    return Err(Error::of(path.clone(), fault));
                }
                Err(source) => damaged.push(Error::Line { path: path.clone(), line, source }),
            }
            if newest.len() > limit {
                newest.pop_front();
            }
            Ok(())
        })?;
    }
    Ok(History { entries: newest.into(), damaged })
}

/// The whole lines of a file that is damaged, without those that are no entries; `None` where it is
/// not.
pub(super) fn sound_lines(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let (mut sound, mut damaged) = (Vec::new(), false);
    each_line(path, |_, text, read| {
        match read {
            Ok(_) => sound.extend([text, b"\n"].concat()),
            Err(fault) if fault.is_of_another_version() => {
                return Err(Error::of(path.to_owned(), fault));
            }
            Err(_) => damaged = true,
        }
        Ok(())
    })?;
    Ok(damaged.then_some(sound))
}

/// Cuts off what a write that did not come to its end has left: nobody was told that it is there.
pub(super) fn drop_unfinished(dir: &Path) -> Result<(), Error> {
    let path = current(dir);
    let drop = || {
        let length = match fs::metadata(&path) {
            Err(error) if disk::is_absent(&error) => return Ok(()),
            metadata => metadata?.len(),
        };
        // A line is far shorter than that.
        let end = end_of(&path, 1 << 20)?;
        match end.iter().rposition(|byte| *byte == b'\n') {
            Some(at) if at + 1 == end.len() => Ok(()),
            Some(at) => disk::cut(&path, length - (end.len() - at - 1) as u64),
            None if length == end.len() as u64 && length > 0 => disk::cut(&path, 0),
            None => Ok(()),
        }
    };
    drop().map_err(|source| Error::Write { path: path.clone(), source })
}

/// The older one first.
pub(super) fn files(dir: &Path) -> [PathBuf; 2] {
    [previous(dir), current(dir)]
}

/// Hands over each line that came to its end, with its number and what it says.
fn each_line(
    path: &Path,
    mut take: impl FnMut(usize, &[u8], Result<Entry, Fault>) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(failed)?;
        let Some(text) = line.strip_suffix(b"\n") else { break };
        if !text.is_empty() {
            take(number, text, seal::open(text).map(|(entry, _)| entry))?;
        }
    }
    Ok(())
}

fn end_of(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = match File::open(path) {
        Err(error) if disk::is_absent(&error) => return Ok(vec![]),
        file => file?,
    };
    let length = file.metadata()?.len();
    let mut end = vec![0; usize::try_from(length.min(most)).unwrap_or(0)];
    let from = length - end.len() as u64;
    file.read_exact_at(&mut end, from)?;
    Ok(end)
}

fn current(dir: &Path) -> PathBuf {
    dir.join("history.jsonl")
}

fn previous(dir: &Path) -> PathBuf {
    dir.join("history.1.jsonl")
}
