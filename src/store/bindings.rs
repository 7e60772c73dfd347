//! Bindings: which image a unit gets for a reference while a rollout runs, whatever the tag says.
//!
//! A binding holds against the tag as it was when the unit was bound. Where somebody moved the tag
//! since, by a pull or by hand, the tag counts again: so nobody is held on an image that he has
//! just replaced.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Error, Store};
use crate::disk;
use crate::model::{Digest, Reference, UnitName};

/// The largest file of bindings read, in bytes.
const MAX_BINDINGS: u64 = 1024 * 1024;

type Bindings = BTreeMap<Reference, Binding>;

/// What a unit gets for one reference. Platform manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Binding {
    manifest: Digest,
    /// What the tag said.
    tag: Option<Digest>,
}

impl Store {
    /// From now on `unit` gets the image `manifest` for `reference`. Durable on return.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] where the image is not in the store.
    pub fn bind(
        &self,
        unit: &UnitName,
        reference: &Reference,
        manifest: &Digest,
    ) -> Result<(), Error> {
        let index = self.read_index()?;
        if index.find_manifest(manifest).is_none() {
            return Err(Error::NoSuchImage(manifest.clone()));
        }
        let tag = index.find(reference).map(|record| record.digest.clone());
        let binding = Binding { manifest: manifest.clone(), tag };
        self.change_bindings(unit, |bindings| {
            bindings.insert(reference.clone(), binding.clone()).as_ref() != Some(&binding)
        })
    }

    /// Ends a binding; none is no error. Durable on return.
    pub fn unbind(&self, unit: &UnitName, reference: &Reference) -> Result<(), Error> {
        if !self.bindings_path(unit).exists() {
            return Ok(());
        }
        self.change_bindings(unit, |bindings| bindings.remove(reference).is_some())
    }

    /// The manifest that `unit` is bound to for `reference`; `None` where the tag counts.
    pub fn binding(&self, unit: &UnitName, reference: &Reference) -> Result<Option<Digest>, Error> {
        let Some(binding) = self.read_bindings(unit)?.remove(reference) else { return Ok(None) };
        let index = self.read_index()?;
        let tag = index.find(reference).map(|record| &record.digest);
        Ok((tag == binding.tag.as_ref()).then_some(binding.manifest))
    }

    /// The manifests that `unit` is bound to, and those that the tags named when it was.
    pub(super) fn bound_by(&self, unit: &UnitName) -> Result<Vec<Digest>, Error> {
        let bindings = self.read_bindings(unit)?.into_values();
        Ok(bindings.flat_map(|binding| [Some(binding.manifest), binding.tag]).flatten().collect())
    }

    /// A unit's name is a file's name as it is: 255 bytes at most, without `/`, not a dot alone.
    fn bindings_path(&self, unit: &UnitName) -> PathBuf {
        self.root.join("bindings").join(unit.as_str())
    }

    fn read_bindings(&self, unit: &UnitName) -> Result<Bindings, Error> {
        let path = self.bindings_path(unit);
        match disk::read(&path, MAX_BINDINGS).map_err(|cause| Error::read(&path, cause))? {
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| Error::Syntax { path, source })
            }
            None => Ok(Bindings::new()),
        }
    }

    /// Writes the unit's bindings where `change` says that it changed them.
    fn change_bindings(
        &self,
        unit: &UnitName,
        change: impl FnOnce(&mut Bindings) -> bool,
    ) -> Result<(), Error> {
        let _lock = self.lock_bindings()?;
        let mut bindings = self.read_bindings(unit)?;
        if !change(&mut bindings) {
            return Ok(());
        }
        let path = self.bindings_path(unit);
        if bindings.is_empty() {
            return disk::remove(&path).map_err(|cause| Error::io("remove", &path, cause));
        }
        let bytes = serde_json::to_vec(&bindings)
            .map_err(|source| Error::Syntax { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|cause| Error::write(&path, cause))
    }
}
