//! Images that go away, and what nobody needs any more.
//!
//! Layers and blobs are shared: what goes is what no record leads to. The lock of the store, which
//! pulls hold shared, keeps layers that have no record yet. Under it, names go and nothing else; what
//! lost its name is deleted afterwards, and, should that be interrupted, by the next sweep.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::containers::Records;
use super::erase::Brake;
use super::image::MAX_DOCUMENT;
use super::listing::{self, entries};
use super::{Error, Store, Usage, Workspace};
use crate::crash::{Effect, around_call};
use crate::disk;
use crate::model::{Digest, Reference, UnitName};

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retirement {
    pub manifests: Vec<Digest>,
    /// Whether layers go as well that no image needs.
    pub leftovers: bool,
}

/// Of which images one is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Any,
    /// Those that nobody has a name for.
    Unnamed,
}

impl Store {
    /// Takes the tag of `reference` away; the image stays. Whether there was such a tag.
    pub fn untag(&self, reference: &Reference) -> Result<bool, Error> {
        self.change_index(|index| index.remove_tag(&reference.to_string()))
    }

    /// Takes the image with all its tags out of the store, if it is one of those. Whether it did: a process
    /// that lives may hold it. What nothing else needs is removed by [`Store::collect`].
    ///
    /// # Errors
    /// Where it cannot be told who holds it: then it stays.
    pub fn forget(&self, manifest: &Digest, which: Which) -> Result<bool, Error> {
        self.try_change_index(|index| {
            let is_meant = which == Which::Any || !index.is_named(manifest);
            Ok(is_meant && !self.held()?.contains(manifest) && index.remove(manifest))
        })
    }

    /// Removes the layers and documents that nobody needs, and what the dead have left. Where a pull
    /// runs, no layer is removed until the next time. What pins and holders lead to stays, also where
    /// `index.json` was lost or moved away.
    ///
    /// # Errors
    /// Where it cannot be told what is needed: then nothing is removed.
    pub fn collect(&self) -> Result<(), Error> {
        let brake = Brake::default();
        // First: layers of theirs may get their names by it.
        self.bury(&[], &brake);
        let Some(alone) = self.try_lock_all()? else { return Ok(()) };
        let needed = self.needed()?;
        let gone = self.put_away(&|hex| !needed.contains(hex))?;
        self.erase(gone, alone, &brake)
    }

    /// Removes those of the images that no container, binding, holder or tag has, with the layers that no
    /// other image needs, and says which. Layers that no image needs yet, of pulls that were given up,
    /// stay, unless these are `leftovers` that go as well. Where a pull runs, nothing is removed. What the
    /// dead have left goes in any case. `brake` ends the deletion of what is out of sight by then.
    ///
    /// # Errors
    /// As of [`Store::collect`].
    pub fn retire(
        &self,
        records: &Records,
        asked: &Retirement,
        brake: &Brake,
    ) -> Result<Vec<Digest>, Error> {
        self.bury(&[], brake);
        let Some(alone) = self.try_lock_all()? else { return Ok(vec![]) };
        let Retirement { manifests, leftovers } = asked;
        // Nobody makes a container from one meanwhile: that takes the same lock.
        let making = records.lock()?;
        let usage = Usage::read(self, records)?;
        let index = self.read_index()?;
        let targets =
            manifests.iter().filter_map(|image| Some(index.find_manifest(image)?.target()));
        let own = self.reached(targets.chain(manifests.iter().cloned()).collect())?;
        let mut retired = Vec::new();
        self.try_change_index(|index| {
            let held = self.held()?;
            let free = |image: &&Digest| {
                !usage.is_held(image) && !held.contains(*image) && !index.is_named(image)
            };
            retired = manifests.iter().filter(free).cloned().collect();
            Ok(retired.iter().filter(|image| index.remove(image)).count() > 0)
        })?;
        drop(making);
        let needed = self.needed()?;
        let gone =
            self.put_away(&|hex| (*leftovers || own.contains(hex)) && !needed.contains(hex))?;
        self.erase(gone, alone, brake)?;
        Ok(retired)
    }

    /// Whether there is something that [`Store::retire`] would remove without being asked for an image.
    ///
    /// # Errors
    /// As of [`Store::collect`].
    pub fn has_leftovers(&self, leftovers: bool) -> Result<bool, Error> {
        if self.has_dead() {
            return Ok(true);
        }
        if !leftovers {
            return Ok(false);
        }
        let needed = self.needed()?;
        for (_, directory) in self.shelved() {
            let names = entries(&directory)?;
            let mut names = names.iter().filter_map(|path| path.file_name()?.to_str());
            if names.any(|hex| !needed.contains(hex)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes layers and documents that `goes` says so of away from their hexadecimal names.
    fn put_away(&self, goes: &dyn Fn(&str) -> bool) -> Result<Workspace, Error> {
        let gone = self.workspace()?;
        for (kind, directory) in self.shelved() {
            self.put_aside(&directory, goes, gone.path(), kind)?;
        }
        for (number, copies) in self.mappings()?.iter().enumerate() {
            self.put_aside(copies, goes, gone.path(), &format!("copy-{number}"))?;
            // Where others are left, it stays.
            let _ = std::fs::remove_dir(copies);
        }
        Ok(gone)
    }

    /// Where layers and documents have their names.
    fn shelved(&self) -> [(&'static str, PathBuf); 3] {
        [("layer", "layers/sha256"), ("seal", "seals"), ("blob", "images/blobs/sha256")]
            .map(|(kind, directory)| (kind, self.root.join(directory)))
    }

    /// Deletes what was put away, slowly, and without the lock: nobody waits for that.
    fn erase(&self, gone: Workspace, alone: File, brake: &Brake) -> Result<(), Error> {
        drop(alone);
        if entries(gone.path())?.is_empty() {
            return Ok(());
        }
        // A power cut must not bring a name back for half of a layer.
        let copies = self.mappings()?.into_iter().chain([gone.path().to_owned()]);
        for directory in self.shelved().into_iter().map(|(_, directory)| directory).chain(copies) {
            match disk::sync_directory(&directory) {
                // Its last copy went, or the store has never had one.
                Err(cause) if disk::is_absent(&cause) => {}
                flushed => flushed.map_err(|cause| Error::io("flush", &directory, cause))?,
            }
        }
        around_call(Effect::Erase, || gone.erase(brake));
        Ok(())
    }

    /// The lock that pulls hold shared; `None` where one runs, or nothing was ever pulled.
    pub(super) fn try_lock_all(&self) -> Result<Option<File>, Error> {
        let path = self.root.join("locks/store");
        let failed = |cause| Error::io("lock", &path, cause);
        let file = match File::open(&path) {
            Err(cause) if disk::is_absent(&cause) => return Ok(None),
            file => file.map_err(failed)?,
        };
        Ok(disk::try_lock(&file).map_err(failed)?.then_some(file))
    }

    /// What units are bound to, and what they go back to: the tag as it was then.
    pub fn bound(&self) -> Result<Vec<(UnitName, Digest)>, Error> {
        let mut bound = Vec::new();
        for path in entries(&self.root.join("bindings"))? {
            let Some(unit) = listing::unit(&path) else { continue };
            bound.extend(self.bound_by(&unit)?.into_iter().map(|digest| (unit.clone(), digest)));
        }
        Ok(bound)
    }

    /// All digests that the records of `index.json`, the pins and the holders lead to, whoever wrote
    /// them: documents are read for whatever in them looks like one.
    fn needed(&self) -> Result<BTreeSet<String>, Error> {
        let mut found: Vec<Digest> = self.read_index()?.digests();
        found.extend(self.pinned()?);
        found.extend(self.held()?);
        self.reached(found)
    }

    /// All digests that these lead to.
    fn reached(&self, mut found: Vec<Digest>) -> Result<BTreeSet<String>, Error> {
        let mut reached = BTreeSet::new();
        while let Some(digest) = found.pop() {
            if !reached.insert(digest.hex()) {
                continue;
            }
            let path = self.blob_path(&digest);
            let size = std::fs::metadata(&path).map_or(u64::MAX, |status| status.len());
            if size > MAX_DOCUMENT {
                continue;
            }
            if let Some(bytes) = self.read_blob(&digest)?
                && let Ok(document) = serde_json::from_slice::<serde_json::Value>(&bytes)
            {
                digests_in(&document, &mut found);
            }
        }
        Ok(reached)
    }

    /// Takes what `goes` away from its name.
    fn put_aside(
        &self,
        directory: &Path,
        goes: &dyn Fn(&str) -> bool,
        to: &Path,
        kind: &str,
    ) -> Result<(), Error> {
        for from in entries(directory)? {
            let name = from.file_name().and_then(OsStr::to_str);
            let Some(hex) = name.filter(|name| goes(name)) else { continue };
            std::fs::rename(&from, to.join(format!("{kind}-{hex}")))
                .map_err(|cause| Error::io("remove", &from, cause))?;
        }
        Ok(())
    }
}

/// Digests among the texts of a document.
fn digests_in(document: &serde_json::Value, found: &mut Vec<Digest>) {
    match document {
        serde_json::Value::String(text) => found.extend(text.parse::<Digest>()),
        serde_json::Value::Array(list) => list.iter().for_each(|value| digests_in(value, found)),
        serde_json::Value::Object(map) => map.values().for_each(|value| digests_in(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::erase::Awaited;
    use super::super::tests::{layer, store};
    use super::*;

    #[test]
    fn nothing_of_what_is_stopped_is_lost_sight_of() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let layer = layer(&store, "nobody's");
        let brake = Awaited::default().brake();
        let records = Records::open(&directory.path().join("run"));
        let asked = |leftovers| Retirement { manifests: vec![], leftovers };
        store.retire(&records, &asked(false), &brake).unwrap();
        assert!(store.layer_path(&layer).is_dir(), "of a pull that was given up");
        assert!(store.has_leftovers(true).unwrap() && !store.has_leftovers(false).unwrap());
        store.retire(&records, &asked(true), &brake).unwrap();
        assert!(!store.layer_path(&layer).exists() && store.has_dead());
        assert!(store.try_lock_all().unwrap().is_some(), "pulls need not wait for the deletion");
        store.retire(&records, &asked(false), &Brake::default()).unwrap();
        assert!(!store.has_dead());
    }
}
