//! The ledger's files: sealed documents, replaced whole.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use super::seal::{self, Fault};
use crate::disk;

/// The largest file that is read, in bytes: far more than any of ours grows to.
const MAX: u64 = 16 << 20;

/// Reads a file, and says in which schema it is; `None` where there is none.
pub(super) fn read_with_schema<T: DeserializeOwned>(
    path: &Path,
) -> Result<Option<(T, u32)>, Error> {
    let bytes = match disk::read(path, MAX) {
        Err(source) if source.kind() == io::ErrorKind::FileTooLarge => {
            return Err(Error::of(path.to_owned(), Fault::Size(source)));
        }
        read => read.map_err(|source| Error::Read { path: path.to_owned(), source })?,
    };
    let Some(bytes) = bytes else { return Ok(None) };
    seal::open(&bytes).map(Some).map_err(|fault| Error::of(path.to_owned(), fault))
}

/// Reads a file; `None` where there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    Ok(read_with_schema(path)?.map(|(value, _)| value))
}

/// Reads a file; one that is damaged says nothing, and will be set aside by the next pass.
pub(super) fn read_if_whole<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match read_json(path) {
        Err(Error::Damaged { .. }) => Ok(None),
        read => read,
    }
}

/// Replaces a file; it is durable on return, and never half written.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let mut text = seal::seal(value)?;
    text.push(b'\n');
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
