//! Layers for containers of ordinary users whose map of users is another than that of all others:
//! copies under other owners, made when a container first needs them, and gone with their layers.

use std::path::{Path, PathBuf};

use super::listing::entries;
use super::unpack::{self, Limits, Owners};
use super::{Error, Store};
use crate::disk;

impl Store {
    /// Copies of these layers, whose files belong to whom `owners` says; `key` is a name for that,
    /// the same for the same owners. What was copied before is used again.
    ///
    /// # Errors
    /// Also where the copies do not fit on the disk; nothing of them stays then.
    pub fn mapped(
        &self,
        layers: &[PathBuf],
        key: &str,
        owners: Owners<'_>,
    ) -> Result<Vec<PathBuf>, Error> {
        let place = self.mapped_path().join(key);
        let at = |layer: &PathBuf| layer.file_name().map(|name| place.join(name));
        let wanted: Vec<PathBuf> = layers.iter().filter_map(at).collect();
        if wanted.iter().all(|path| path.is_dir()) {
            return Ok(wanted);
        }
        disk::make_private(&place).map_err(|cause| Error::io("create", &place, cause))?;
        let _lock = self.lock_shared()?;
        let work = self.workspace()?;
        let mut made = Vec::new();
        for (layer, path) in layers.iter().zip(&wanted).filter(|(_, path)| !path.is_dir()) {
            let aside = work.path().join(made.len().to_string());
            copy(layer, &aside, owners)?;
            made.push((aside, path));
        }
        // Whole and on disk before they have their names, as all layers.
        self.flush()?;
        for (aside, path) in made {
            match std::fs::rename(&aside, path) {
                // Somebody else was as fast.
                Err(_) if path.is_dir() => {}
                renamed => renamed.map_err(|cause| Error::io("write", path, cause))?,
            }
        }
        disk::sync_directory(&place).map_err(|cause| Error::io("flush", &place, cause))?;
        Ok(wanted)
    }

    /// The directories of the copies, each of the same owners.
    pub(super) fn mappings(&self) -> Result<Vec<PathBuf>, Error> {
        entries(&self.mapped_path())
    }

    fn mapped_path(&self) -> PathBuf {
        self.root.join("mapped")
    }
}

fn copy(layer: &Path, to: &Path, owners: Owners<'_>) -> Result<(), Error> {
    disk::make_private(to).map_err(|cause| Error::io("create", to, cause))?;
    let open = |path| unpack::open_root(path).map_err(|cause| Error::io("open", path, cause));
    unpack::copy(open(layer)?, open(to)?, owners, &Limits::default())
        .map_err(|source| Error::Copy { path: layer.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_made_once_and_go_with_their_layers() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.create().unwrap();
        let layer = dir.path().join("layers/sha256").join("a".repeat(64));
        std::fs::create_dir(&layer).unwrap();
        std::fs::write(layer.join("file"), "text").unwrap();
        let map = |key: &str| {
            store.mapped(std::slice::from_ref(&layer), key, &|uid, gid| (uid, gid)).unwrap()
        };
        let (first, other) = (map("1"), map("2"));
        assert_ne!(first, other);
        assert_eq!(std::fs::read_to_string(first[0].join("file")).unwrap(), "text");
        std::fs::write(first[0].join("mark"), "").unwrap();
        assert!(map("1")[0].join("mark").exists());
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        // No image leads to the layer.
        drop(store.lock_shared().unwrap());
        store.collect().unwrap();
        assert!(!layer.exists() && !first[0].exists() && !other[0].exists());
        assert!(store.mappings().unwrap().is_empty());
    }
}
