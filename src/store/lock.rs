//! The store's locks between processes, each a file below `locks/`.

use std::path::Path;

use super::{Error, Store};
use crate::disk::{Lock, Mode};

/// Takes the lock `path`, waiting for it; the file stays.
pub(super) fn wait(path: &Path, mode: Mode) -> Result<Lock, Error> {
    Lock::wait(path, mode).map_err(|cause| Error::io("lock", path, cause))
}

/// Takes the lock `path` if it is free; its file goes away with the lock.
pub(super) fn try_exclusive(path: &Path) -> Result<Option<Lock>, Error> {
    Lock::try_exclusive(path).map_err(|cause| Error::io("lock", path, cause))
}

impl Store {
    /// Keeps what is in the store from being removed (garbage collection takes it exclusively).
    pub(super) fn lock_shared(&self) -> Result<Lock, Error> {
        wait(&self.root.join("locks/store"), Mode::Shared)
    }

    /// The same, without waiting: `None` while something is being removed.
    pub(super) fn try_lock_shared(&self) -> Result<Option<Lock>, Error> {
        let path = self.root.join("locks/store");
        Lock::try_shared(&path).map_err(|cause| Error::io("lock", &path, cause))
    }

    pub(super) fn lock_index(&self) -> Result<Lock, Error> {
        wait(&self.root.join("locks/index"), Mode::Exclusive)
    }

    pub(super) fn lock_bindings(&self) -> Result<Lock, Error> {
        wait(&self.root.join("locks/bindings"), Mode::Exclusive)
    }
}
