//! The ledger's files: JSON, replaced whole.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::disk;

/// The largest file that is read, in bytes: far more than any of ours grows to.
const MAX: u64 = 16 << 20;

/// Reads a file; `None` where there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let read = disk::read(path, MAX);
    let bytes = read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let Some(bytes) = bytes else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// Replaces a file; it is durable on return, and never half written.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|source| Error::Json { path: path.to_owned(), source })?;
    make_parent(path)
        .and_then(|()| disk::replace(path, &text))
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Removes a file durably; one that is not there is no error.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    disk::remove(path).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Makes the directory that `path` lies in, readable for its owner only.
pub(super) fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), disk::make_private)
}
