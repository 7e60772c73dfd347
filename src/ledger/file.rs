//! Small JSON files that are replaced whole and survive a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

/// The largest file that is read, in bytes: far more than any of ours grows to.
const MAX: u64 = 16 << 20;

/// Reads a file; `None` where there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX).read_to_string(&mut text).map_err(failed)?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// Replaces a file; it is durable on return, and never half written.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|source| Error::Json { path: path.to_owned(), source })?;
    replace(path, &text).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Removes a file durably; one that is not there is no error.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    match fs::remove_file(path) {
        Ok(()) => flush_parent(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Makes the directory that `path` lies in, readable for its owner only.
pub(super) fn make_parent(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match path.parent() {
        Some(parent) => fs::DirBuilder::new().recursive(true).mode(0o700).create(parent),
        None => Ok(()),
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    make_parent(path)?;
    let aside = path.with_extension("new");
    let written = write_flushed(&aside, text).and_then(|()| fs::rename(&aside, path));
    if let Err(error) = written {
        // A full disk must not keep the half of a file as well.
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    flush_parent(path)
}

fn write_flushed(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn flush_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
