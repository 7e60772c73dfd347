//! Who uses an image: containers, by their records and definitions, units that an update has bound to
//! it, and units that may go back to it.

use std::collections::{BTreeMap, BTreeSet};

use super::containers::Records;
use super::{Error, Store};
use crate::model::{ContainerId, Digest, UnitName};

/// All that keeps images from being removed.
#[derive(Debug, Default)]
pub struct Usage {
    containers: BTreeMap<Digest, Vec<(ContainerId, String)>>,
    units: BTreeMap<Digest, UnitName>,
    /// What units may go back to.
    kept: BTreeSet<Digest>,
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
            let images = record.mounted_images.iter().chain([&record.image.manifest]);
            usage.add(&record.id, &record.name, images);
        }
        for (id, made) in store.made()? {
            if let Ok(id) = id.parse() {
                usage.add(&id, &made.name, made.images());
            }
        }
        usage.units = store.bound()?.into_iter().map(|(unit, digest)| (digest, unit)).collect();
        usage.kept = store.kept()?.into_iter().collect();
        Ok(usage)
    }

    fn add<'a>(
        &mut self,
        id: &ContainerId,
        name: &str,
        images: impl IntoIterator<Item = &'a Digest>,
    ) {
        for manifest in images {
            let containers = self.containers.entry(manifest.clone()).or_default();
            if !containers.iter().any(|(known, _)| known == id) {
                containers.push((id.clone(), name.to_owned()));
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
