//! Which files count: `updaterd.toml` from the first directory that has it, then the drop-ins
//! `updaterd.d/*.toml`, sorted by name across all directories. A file of a directory hides one of
//! the same name in a later directory; a link to `/dev/null` hides it without taking its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use crate::disk;

/// The largest file that is read, in bytes.
const MAX: u64 = 1 << 20;

/// A file that counts, and what it says.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The files that count, the least important first.
pub(super) fn find(dirs: &[impl AsRef<Path>]) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for dir in dirs {
        if let Some(text) = read(&dir.as_ref().join("updaterd.toml"))? {
            sources.push(Source { path: dir.as_ref().join("updaterd.toml"), text });
            break;
        }
    }
    for path in drop_ins(dirs)?.into_values() {
        if let Some(text) = read(&path)? {
            sources.push(Source { path, text });
        }
    }
    Ok(sources)
}

fn drop_ins(dirs: &[impl AsRef<Path>]) -> Result<BTreeMap<OsString, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    for dir in dirs {
        let dir = dir.as_ref().join("updaterd.d");
        let failed = |source| Error::Read { path: dir.clone(), source };
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if entry.path().extension().is_some_and(|extension| extension == "toml") {
                found.entry(entry.file_name()).or_insert_with(|| entry.path());
            }
        }
    }
    Ok(found)
}

/// `None` where there is no such file. `/dev/null` reads as empty, so that a link to it is a file
/// that says nothing.
fn read(path: &Path) -> Result<Option<String>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let Some(bytes) = disk::read(path, MAX).map_err(failed)? else { return Ok(None) };
    let text = String::from_utf8(bytes)
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(Some(text))
}
