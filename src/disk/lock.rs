//! Locks between processes, by flock(2): the kernel drops them with their holder, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

/// A lock on a file that is there for nothing else, held until dropped.
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
pub enum Mode {
    Shared,
    Exclusive,
}

impl Lock {
    /// Takes the lock `path`, waiting for it; the file stays.
    ///
    /// # Errors
    /// Whatever open(2) and flock(2) say.
    pub fn wait(path: &Path, mode: Mode) -> io::Result<Self> {
        let file = open(path)?;
        lock(&file, mode)?;
        Ok(Self { _file: file, remove: None })
    }

    /// Takes the lock `path` beside others that share it, if nobody has it alone; the file stays.
    ///
    /// # Errors
    /// Whatever open(2) and flock(2) say.
    pub fn try_shared(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        let taken = try_to(&file, FlockOperation::NonBlockingLockShared)?;
        Ok(taken.then_some(Self { _file: file, remove: None }))
    }

    /// Takes the lock `path` if it is free; its file goes away with the lock.
    ///
    /// # Errors
    /// Whatever open(2) and flock(2) say.
    pub fn try_exclusive(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        // The holder before may have removed the file between open and flock.
        let taken = try_lock(&file)? && is_at(&file, path);
        Ok(taken.then(|| Self { _file: file, remove: Some(path.to_owned()) }))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Locks an open file or directory until it is closed, waiting for it.
///
/// # Errors
/// Whatever flock(2) says.
pub fn lock(file: &File, mode: Mode) -> io::Result<()> {
    let operation = match mode {
        Mode::Shared => FlockOperation::LockShared,
        Mode::Exclusive => FlockOperation::LockExclusive,
    };
    Ok(retry_on_intr(|| flock(file, operation))?)
}

/// Locks an open file or directory, for itself alone, until it is closed; `false` where somebody
/// else holds it.
///
/// # Errors
/// Whatever flock(2) says.
pub fn try_lock(file: &File) -> io::Result<bool> {
    try_to(file, FlockOperation::NonBlockingLockExclusive)
}

fn try_to(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match retry_on_intr(|| flock(file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}

/// Whether `file` is still what `path` names.
pub fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_no_file_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::try_exclusive(&path).unwrap().unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(held);
        assert!(!path.exists());
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn the_shared_share_and_keep_others_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = [Mode::Shared; 2].map(|mode| Lock::wait(&path, mode).unwrap());
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        assert!(Lock::try_shared(&path).unwrap().is_some());
        drop(held);
        assert!(path.exists());
        let alone = Lock::try_exclusive(&path).unwrap();
        assert!(alone.is_some() && Lock::try_shared(&path).unwrap().is_none());
    }
}
