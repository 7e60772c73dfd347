//! Reading a configuration file of this host, with a limit.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::FileFault;

/// The largest configuration, credentials or certificate file accepted, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The whole file; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileFault> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(fault(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileFault::TooLarge(MAX_FILE));
    }
    Ok(Some(bytes))
}

/// The files of `directory` with one of `extensions`, by name; none where there is no directory.
pub(super) fn list(directory: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, FileFault> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
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
