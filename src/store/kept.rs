//! Images that units ran before, which stay for a way back whatever is pruned.

use std::collections::BTreeMap;

use super::{Error, Store};
use crate::disk;
use crate::model::{Digest, Reference, UnitName};

/// So many of each unit and reference, as of Podman's: an update that fails keeps what runs, and must
/// not cost what ran before that.
const KEPT: usize = 2;

/// The largest file of them read, in bytes.
const MAX_KEPT: u64 = 1024 * 1024;

/// Platform manifests, newest first.
type Kept = BTreeMap<Reference, Vec<Digest>>;

impl Store {
    /// Has `manifest`, which `unit` runs for `reference`, stay; the oldest kept before need not any
    /// more. Durable on return.
    pub fn keep(
        &self,
        unit: &UnitName,
        reference: &Reference,
        manifest: &Digest,
    ) -> Result<(), Error> {
        let directory = self.root.join("kept");
        let path = directory.join(unit.as_str());
        disk::make_private(&directory).map_err(|cause| Error::io("create", &directory, cause))?;
        let _lock = self.lock_bindings()?;
        let mut kept = self.kept_by(unit)?;
        let images = kept.entry(reference.clone()).or_default();
        if images.first() == Some(manifest) {
            return Ok(());
        }
        images.retain(|image| image != manifest);
        images.insert(0, manifest.clone());
        images.truncate(KEPT);
        let bytes = serde_json::to_vec(&kept)
            .map_err(|source| Error::Syntax { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|cause| Error::write(&path, cause))
    }

    /// What is kept for `unit`.
    pub fn kept_by(&self, unit: &UnitName) -> Result<Kept, Error> {
        let path = self.root.join("kept").join(unit.as_str());
        match disk::read(&path, MAX_KEPT).map_err(|cause| Error::read(&path, cause))? {
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| Error::Syntax { path, source })
            }
            None => Ok(Kept::new()),
        }
    }

    /// What is kept for any unit.
    pub fn kept(&self) -> Result<Vec<Digest>, Error> {
        let directory = self.root.join("kept");
        let failed = |cause| Error::io("list", &directory, cause);
        let entries = match std::fs::read_dir(&directory) {
            Err(cause) if disk::is_absent(&cause) => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            if let Some(unit) = name.to_str().and_then(|name| name.parse::<UnitName>().ok()) {
                all.extend(self.kept_by(&unit)?.into_values().flatten());
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_newest_of_each_unit_are_kept() {
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
        assert_eq!(store.kept_by(&app).unwrap()[&reference], [image("v2"), image("v3")]);
        store.keep(&other, &reference, &image("v1")).unwrap();
        assert_eq!(store.kept().unwrap().len(), 3);
    }
}
