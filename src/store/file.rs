//! Files that are replaced as a whole.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::Error;

/// Replaces `dir/name` by `bytes`: a reader, and the disk after a crash, has the old or the new
/// file, whole. Durable on return. The caller holds the lock that lets one process at a time
/// write in `dir`.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let new = dir.join(".new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, dir.join(name))?;
        sync_directory(dir)
    };
    write().map_err(|cause| {
        // What is left of a write that failed is overwritten by the next one anyway.
        let _ = std::fs::remove_file(&new);
        Error::io("write", &dir.join(name), cause)
    })
}

/// Makes the names in `dir` durable.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Reads a file that may not be there; one larger than `limit` bytes is an error.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any such file"));
        }
        Ok(Some(bytes))
    };
    read().map_err(|cause| Error::io("read", path, cause))
}
