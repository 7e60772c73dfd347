//! Locks between processes, by flock(2): the kernel drops them with their holder, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Error, Store};

/// A lock, held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// The lock file, where it goes away with the lock.
    remove: Option<PathBuf>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.remove {
            // Still locked here: whoever waits for this file sees that it lost its name.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// How a lock is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Shared,
    Exclusive,
}

/// Takes the lock `path`, waiting for it; the file stays.
pub(super) fn wait(path: &Path, mode: Mode) -> Result<Lock, Error> {
    let take = || -> io::Result<File> {
        let file = open(path)?;
        let operation = match mode {
            Mode::Shared => FlockOperation::LockShared,
            Mode::Exclusive => FlockOperation::LockExclusive,
        };
        rustix::io::retry_on_intr(|| flock(&file, operation))?;
        Ok(file)
    };
    let file = take().map_err(|cause| Error::io("lock", path, cause))?;
    Ok(Lock { _file: file, remove: None })
}

/// Takes the lock `path` if it is free; its file goes away with the lock.
pub(super) fn try_exclusive(path: &Path) -> Result<Option<Lock>, Error> {
    let take = || -> io::Result<Option<File>> {
        let file = open(path)?;
        match rustix::io::retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        // The holder before may have removed the file between open and flock.
        Ok(is_at(&file, path).then_some(file))
    };
    let file = take().map_err(|cause| Error::io("lock", path, cause))?;
    Ok(file.map(|file| Lock { _file: file, remove: Some(path.to_owned()) }))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Whether `file` is still what `path` names.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

impl Store {
    /// Keeps what is in the store from being removed (garbage collection takes it exclusively).
    pub(super) fn lock_shared(&self) -> Result<Lock, Error> {
        wait(&self.root.join("locks/store"), Mode::Shared)
    }

    pub(super) fn lock_index(&self) -> Result<Lock, Error> {
        wait(&self.root.join("locks/index"), Mode::Exclusive)
    }

    pub(super) fn lock_bindings(&self) -> Result<Lock, Error> {
        wait(&self.root.join("locks/bindings"), Mode::Exclusive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_no_file_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = try_exclusive(&path).unwrap().unwrap();
        assert!(try_exclusive(&path).unwrap().is_none());
        drop(held);
        assert!(!path.exists());
        assert!(try_exclusive(&path).unwrap().is_some());
    }
}
