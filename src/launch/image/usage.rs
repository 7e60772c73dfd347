//! Who uses an image: containers, by their definitions, and units that an update has bound to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::launch::Error;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::place::Place;
use crate::model::{ContainerId, Digest, UnitName};
use crate::store::containers::Record;

/// All that keeps images from being removed.
#[derive(Debug, Default)]
pub(crate) struct Usage {
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
    pub(crate) fn read(place: &Place) -> Result<Self, Error> {
        let mut usage = Self::default();
        for record in place.records().all()?.records {
            usage.add(record);
        }
        let directory = place.containers();
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            entries => Some(entries.map_err(|source| Error::file("list", &directory, source))?),
        };
        for entry in entries.into_iter().flatten().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match Definition::read(place, &id) {
                Ok(definition) => usage.add(definition.record),
                // Of one that is just being made, or went: its record counts.
                Err(Error::NoDefinition(_)) => {}
                Err(error) => return Err(error),
            }
        }
        usage.units =
            place.store()?.bound()?.into_iter().map(|(unit, digest)| (digest, unit)).collect();
        usage.kept = place.store()?.kept()?.into_iter().collect();
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
    pub(crate) fn containers(&self, manifest: &Digest) -> &[(ContainerId, String)] {
        self.containers.get(manifest).map(Vec::as_slice).unwrap_or_default()
    }

    /// A unit that runs this image in an update, or goes back to it.
    pub(crate) fn unit(&self, manifest: &Digest) -> Option<&UnitName> {
        self.units.get(manifest)
    }

    pub(crate) fn is_used(&self, manifest: &Digest) -> bool {
        !self.containers(manifest).is_empty()
            || self.unit(manifest).is_some()
            || self.kept.contains(manifest)
    }
}
