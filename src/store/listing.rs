//! What is in a directory of the store, by names.

use std::path::{Path, PathBuf};

use super::Error;
use crate::disk;
use crate::model::{Digest, UnitName};

/// What is in a directory, in no order; nothing where that is not there.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |cause| Error::io("list", directory, cause);
    let entries = match std::fs::read_dir(directory) {
        Err(cause) if disk::is_absent(&cause) => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

/// The digest that a file has as its name, without the algorithm.
pub(super) fn digest(path: &Path) -> Option<Digest> {
    format!("sha256:{}", path.file_name()?.to_str()?).parse().ok()
}

/// The unit that a file has its name from.
pub(super) fn unit(path: &Path) -> Option<UnitName> {
    path.file_name()?.to_str()?.parse().ok()
}
