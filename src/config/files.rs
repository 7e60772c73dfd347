//! Which files count: `updaterd.toml` from the first directory that has it, then the drop-ins
//! `updaterd.d/*.toml`, sorted by name across all directories. A file of a directory hides one of
//! the same name in a later directory; a link to `/dev/null` hides it without taking its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Error;

/// The largest file that is read, in bytes.
pub(super) const MAX: u64 = 1 << 20;

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
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    let read = file.take(MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > MAX {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    Ok(Some(text))
}
