//! Who uses an image: containers, by their records and definitions, units that an update has bound to
//! it, and units that may go back to it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::containers::{Record, Records};
use super::{Error, Store};
use crate::disk;
use crate::model::{ContainerId, Digest, UnitName};

/// The largest definition read, in bytes: labels, an environment and a command can be long.
const MAX_DEFINITION: u64 = 4 * 1024 * 1024;

/// All that keeps images from being removed.
#[derive(Debug, Default)]
pub struct Usage {
    containers: BTreeMap<Digest, Vec<(ContainerId, String)>>,
    units: BTreeMap<Digest, UnitName>,
    /// What units may go back to.
    kept: BTreeSet<Digest>,
}

/// What a container is made from, as far as it matters here.
#[derive(Deserialize)]
struct Definition {
    record: Record,
}

impl Usage {
    /// Definitions count and not only records, since others with running state of their own may
    /// share our images.
    ///
    /// # Errors
    /// Where a container's image cannot be told: then nothing may be removed.
    pub fn read(store: &Store, records: &Records) -> Result<Self, Error> {
        let mut usage = Self::default();
        for record in records.all()?.records {
            usage.add(record);
        }
        let directory = store.root.join("containers");
        let failed = |cause| Error::io("list", &directory, cause);
        let entries = match std::fs::read_dir(&directory) {
            Err(cause) if disk::is_absent(&cause) => None,
            entries => Some(entries.map_err(failed)?),
        };
        for entry in entries.into_iter().flatten() {
            let path = entry.map_err(failed)?.path().join("definition.json");
            let bytes = disk::read(&path, MAX_DEFINITION);
            // Of one that is just being made, or went, the record counts.
            let Some(bytes) = bytes.map_err(|cause| Error::read(&path, cause))? else { continue };
            let definition: Definition = serde_json::from_slice(&bytes)
                .map_err(|source| Error::Syntax { path: path.clone(), source })?;
            usage.add(definition.record);
        }
        usage.units = store.bound()?.into_iter().map(|(unit, digest)| (digest, unit)).collect();
        usage.kept = store.kept()?.into_iter().collect();
        Ok(usage)
    }

    fn add(&mut self, record: Record) {
        for manifest in record.mounted_images.into_iter().chain([record.image.manifest]) {
            let containers = self.containers.entry(manifest).or_default();
            if !containers.iter().any(|(id, _)| *id == record.id) {
                containers.push((record.id.clone(), record.name.clone()));
            }
        }
    }

    /// The containers made from an image, or that have it mounted.
    pub fn containers(&self, manifest: &Digest) -> &[(ContainerId, String)] {
        self.containers.get(manifest).map(Vec::as_slice).unwrap_or_default()
    }

    /// A unit that runs this image in an update, or goes back to it.
    pub fn unit(&self, manifest: &Digest) -> Option<&UnitName> {
        self.units.get(manifest)
    }

    /// Whether a container or a binding has it.
    pub fn is_held(&self, manifest: &Digest) -> bool {
        !self.containers(manifest).is_empty() || self.unit(manifest).is_some()
    }

    pub fn is_used(&self, manifest: &Digest) -> bool {
        self.is_held(manifest) || self.kept.contains(manifest)
    }
}
