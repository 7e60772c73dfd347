//! The history: one JSON object a line, newest last.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file::make_parent;
use super::{Error, History};
use crate::disk;
use crate::update::report::Entry;

/// At this size the file becomes `history.1.jsonl`, and the one of that name before is dropped.
const ROTATE_AT: u64 = 4 << 20;

pub(super) fn append(dir: &Path, entry: &Entry) -> Result<(), Error> {
    let path = current(dir);
    let mut line =
        serde_json::to_vec(entry).map_err(|source| Error::Json { path: path.clone(), source })?;
    line.push(b'\n');
    write(&path, &previous(dir), &line).map_err(|source| Error::Write { path, source })
}

pub(super) fn read(
    dir: &Path,
    limit: usize,
    asked: impl Fn(&Entry) -> bool,
) -> Result<History, Error> {
    let mut newest = VecDeque::new();
    let mut damaged = Vec::new();
    for path in [previous(dir), current(dir)] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::Read { path, source }),
        };
        for (line, text) in (1..).zip(BufReader::new(file).split(b'\n')) {
            let text = text.map_err(|source| Error::Read { path: path.clone(), source })?;
            match serde_json::from_slice(&text) {
                Ok(entry) if asked(&entry) => newest.push_back(entry),
                Ok(_) => {}
                Err(_) if text.is_empty() => {}
                Err(source) => damaged.push(Error::Line { path: path.clone(), line, source }),
            }
            if newest.len() > limit {
                newest.pop_front();
            }
        }
    }
    Ok(History { entries: newest.into(), damaged })
}

fn current(dir: &Path) -> PathBuf {
    dir.join("history.jsonl")
}

fn previous(dir: &Path) -> PathBuf {
    dir.join("history.1.jsonl")
}

fn write(path: &Path, previous: &Path, line: &[u8]) -> io::Result<()> {
    make_parent(path)?;
    let length = fs::metadata(path).ok().map(|metadata| metadata.len());
    if length.is_some_and(|length| length >= ROTATE_AT) {
        fs::rename(path, previous)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if !ends_with_newline(path)? {
        file.write_all(b"\n")?;
    }
    file.write_all(line)?;
    file.sync_all()?;
    // A new file is on disk only with its name.
    match (length, path.parent()) {
        (Some(..ROTATE_AT), _) | (_, None) => Ok(()),
        (_, Some(dir)) => disk::sync_directory(dir),
    }
}

/// Whether the last line is whole: after a power cut it may not be, and must not swallow the next.
fn ends_with_newline(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last == *b"\n")
}
