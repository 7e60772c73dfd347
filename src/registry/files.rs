//! Reading a configuration file of this host, with a limit.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::FileFault;
use crate::disk;

/// The largest configuration, credentials or certificate file accepted, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The whole file; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileFault> {
    disk::read(path, MAX_FILE).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => FileFault::TooLarge(MAX_FILE),
        _ => fault(error),
    })
}

/// The files of `directory` with one of `extensions`, by name; none where there is no directory.
pub(super) fn list(directory: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, FileFault> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if disk::is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| extensions.contains(&extension)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn fault(error: std::io::Error) -> FileFault {
    FileFault::Io(Arc::new(error))
}
