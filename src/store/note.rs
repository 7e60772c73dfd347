//! Small files of the store's own: what it remembers, and could go on without.

use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Store, lock};
use crate::disk::{self, Mode};

/// One such file, JSON, and what is behind it.
pub(super) struct Note<T> {
    /// Its name, below the store.
    name: &'static str,
    /// The largest that is read, in bytes.
    most: u64,
    /// What nobody knows any more where it is damaged.
    lost: &'static str,
    content: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned + Default> Note<T> {
    pub(super) const fn new(name: &'static str, most: u64, lost: &'static str) -> Self {
        Self { name, most, lost, content: PhantomData }
    }

    pub(super) fn path(&self, store: &Store) -> PathBuf {
        store.root().join(self.name)
    }

    /// What it says; nothing where it is not there, and, said aloud, where it is damaged.
    pub(super) fn read(&self, store: &Store) -> Result<T, Error> {
        let path = self.path(store);
        let bytes = disk::read(&path, self.most).map_err(|cause| Error::read(&path, cause))?;
        let Some(bytes) = bytes else { return Ok(T::default()) };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|cause| {
            let (path, lost) = (path.display(), self.lost);
            tracing::warn!(target: "updaterd", "{path} is damaged ({cause}): {lost}, ignoring");
            T::default()
        }))
    }

    /// Writes it anew where `change` says that it changed it. Durable on return.
    pub(super) fn change(
        &self,
        store: &Store,
        change: impl FnOnce(&mut T) -> bool,
    ) -> Result<(), Error> {
        let locks = store.root().join("locks");
        disk::make_private(&locks).map_err(|cause| Error::io("create", &locks, cause))?;
        // One for all: files are replaced in the same directory, by way of the same name.
        let _lock = lock::wait(&locks.join("notes"), Mode::Exclusive)?;
        let mut content = self.read(store)?;
        if !change(&mut content) {
            return Ok(());
        }
        let path = self.path(store);
        let bytes = serde_json::to_vec(&content)
            .map_err(|source| Error::Syntax { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|cause| Error::write(&path, cause))
    }
}
