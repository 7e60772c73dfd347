//! Images that units ran before, which stay for a way back whatever is pruned.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::listing::{self, entries};
use super::{Error, Store};
use crate::disk;
use crate::model::{Digest, Reference, UnitName};

/// So many of each unit and reference at most, should nobody ever say which need not stay.
const MOST: usize = 512;

/// The largest file of them read, in bytes.
const MAX_KEPT: u64 = 1024 * 1024;

/// Platform manifests, newest first.
type Kept = BTreeMap<Reference, Vec<Digest>>;

impl Store {
    /// Has `manifest`, which `unit` runs for `reference`, stay until it is let go of. Durable on return.
    pub fn keep(
        &self,
        unit: &UnitName,
        reference: &Reference,
        manifest: &Digest,
    ) -> Result<(), Error> {
        self.change_kept(unit, |kept| {
            let images = kept.entry(reference.clone()).or_default();
            if images.first() == Some(manifest) {
                return false;
            }
            images.retain(|image| image != manifest);
            images.insert(0, manifest.clone());
            images.truncate(MOST);
            true
        })
    }

    /// `unit` needs `manifest` no more for `reference`. Durable on return.
    pub fn let_go(
        &self,
        unit: &UnitName,
        reference: &Reference,
        manifest: &Digest,
    ) -> Result<(), Error> {
        self.change_kept(unit, |kept| {
            let Some(images) = kept.get_mut(reference) else { return false };
            let before = images.len();
            images.retain(|image| image != manifest);
            let changed = images.len() < before;
            kept.retain(|_, images| !images.is_empty());
            changed
        })
    }

    /// Writes what is kept for the unit where `change` says that it changed.
    fn change_kept(
        &self,
        unit: &UnitName,
        change: impl FnOnce(&mut Kept) -> bool,
    ) -> Result<(), Error> {
        let directory = self.root.join("kept");
        let path = directory.join(unit.as_str());
        disk::make_private(&directory).map_err(|cause| Error::io("create", &directory, cause))?;
        let _lock = self.lock_bindings()?;
        let mut kept = self.kept_by(unit)?;
        if !change(&mut kept) {
            return Ok(());
        }
        if kept.is_empty() {
            return disk::remove(&path).map_err(|cause| Error::io("remove", &path, cause));
        }
        let bytes = serde_json::to_vec(&kept)
            .map_err(|source| Error::Syntax { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|cause| Error::write(&path, cause))
    }

    /// What is kept for `unit`.
    pub fn kept_by(&self, unit: &UnitName) -> Result<Kept, Error> {
        let path = self.kept_file(unit);
        match disk::read(&path, MAX_KEPT).map_err(|cause| Error::read(&path, cause))? {
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| Error::Syntax { path, source })
            }
            None => Ok(Kept::new()),
        }
    }

    fn kept_file(&self, unit: &UnitName) -> PathBuf {
        self.root.join("kept").join(unit.as_str())
    }

    /// What is kept, by units.
    pub fn kept_by_units(&self) -> Result<BTreeMap<UnitName, Kept>, Error> {
        let mut all = BTreeMap::new();
        for path in entries(&self.root.join("kept"))? {
            if let Some(unit) = listing::unit(&path) {
                let kept = self.kept_by(&unit)?;
                all.insert(unit, kept);
            }
        }
        Ok(all)
    }

    /// What is kept for any unit.
    pub fn kept(&self) -> Result<Vec<Digest>, Error> {
        let all = self.kept_by_units()?.into_values();
        Ok(all.flat_map(BTreeMap::into_values).flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_unit_ran_is_kept_until_it_is_let_go_of() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.create().unwrap();
        assert_eq!(store.kept().unwrap(), []);
        let [app, other] = ["app.service", "other.service"].map(|unit| unit.parse().unwrap());
        let reference: Reference = "quay.io/app:1".parse().unwrap();
        let image = |seed: &str| Digest::of(seed.as_bytes());
        for seed in ["v1", "v2", "v3", "v2", "v2"] {
            store.keep(&app, &reference, &image(seed)).unwrap();
        }
        let kept = || store.kept_by(&app).unwrap().remove(&reference).unwrap_or_default();
        assert_eq!(kept(), [image("v2"), image("v3"), image("v1")]);
        store.keep(&other, &reference, &image("v1")).unwrap();
        assert_eq!(store.kept().unwrap().len(), 4);
        store.let_go(&app, &reference, &image("v3")).unwrap();
        assert_eq!(kept(), [image("v2"), image("v1")]);
        store.let_go(&other, &reference, &image("v1")).unwrap();
        store.let_go(&other, &reference, &image("v1")).unwrap();
        assert!(!store.kept_file(&other).exists() && store.kept_file(&app).exists());
    }
}
