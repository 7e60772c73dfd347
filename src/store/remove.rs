//! Images that go away, and what nobody needs any more.
//!
//! Layers and blobs are shared: what goes is what no record leads to. The lock of the store, which
//! pulls hold shared, keeps layers that have no record yet.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::containers::Records;
use super::image::MAX_DOCUMENT;
use super::{Error, Store, Usage, Workspace};
use crate::disk;
use crate::model::{Digest, Reference, UnitName};

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retirement {
    pub manifests: Vec<Digest>,
    /// Whether layers go as well that no image needs.
    pub leftovers: bool,
}

impl Store {
    /// Takes the tag of `reference` away; the image stays. Whether there was such a tag.
    pub fn untag(&self, reference: &Reference) -> Result<bool, Error> {
        self.change_index(|index| index.remove_tag(&reference.to_string()))
    }

    /// Takes the image with all its tags out of the store; none is no error. What nothing else
    /// needs is removed by [`Store::collect`].
    pub fn forget(&self, manifest: &Digest) -> Result<(), Error> {
        self.change_index(|index| index.remove(manifest)).map(drop)
    }

    /// Removes the layers and documents that nobody needs, and work of pulls that died. Where a pull
    /// runs, nothing is removed until the next time. What pins lead to stays, also where `index.json`
    /// was lost or moved away.
    ///
    /// # Errors
    /// Where it cannot be told what is needed: then nothing is removed.
    pub fn collect(&self) -> Result<(), Error> {
        // Deleting takes its time, and pulls need not wait for it.
        drop(self.take_aside()?);
        self.drop_dead_work();
        Ok(())
    }

    /// Takes what nobody needs away from its names.
    fn take_aside(&self) -> Result<Option<Workspace>, Error> {
        let Some(_lock) = self.try_lock_all()? else { return Ok(None) };
        let needed = self.needed()?;
        self.put_away(&|hex| !needed.contains(hex)).map(Some)
    }

    /// Removes those of the images that no container, binding or tag holds, with the layers that no
    /// other image needs, and says which. Layers that no image needs yet, of pulls that were given up,
    /// stay, unless these are `leftovers` that go as well. Where a pull runs, nothing is removed.
    pub fn retire(
        &self,
        records: &Records,
        Retirement { manifests, leftovers }: &Retirement,
    ) -> Result<Vec<Digest>, Error> {
        let Some(alone) = self.try_lock_all()? else { return Ok(vec![]) };
        // Nobody makes a container from one meanwhile: that takes the same lock.
        let making = records.lock()?;
        let usage = Usage::read(self, records)?;
        let index = self.read_index()?;
        let targets =
            manifests.iter().filter_map(|image| Some(index.find_manifest(image)?.target()));
        let own = self.reached(targets.chain(manifests.iter().cloned()).collect())?;
        let mut retired = Vec::new();
        self.change_index(|index| {
            let free = |image: &&Digest| !usage.is_held(image) && !index.is_named(image);
            retired = manifests.iter().filter(free).cloned().collect();
            retired.iter().filter(|image| index.remove(image)).count() > 0
        })?;
        drop(making);
        let needed = self.needed()?;
        let gone =
            self.put_away(&|hex| (*leftovers || own.contains(hex)) && !needed.contains(hex))?;
        // Deleting takes its time, and pulls need not wait for it.
        drop(alone);
        drop(gone);
        Ok(retired)
    }

    /// Takes layers and documents that `goes` says so of away from their hexadecimal names, into a
    /// workspace that is deleted when it is dropped.
    fn put_away(&self, goes: &dyn Fn(&str) -> bool) -> Result<Workspace, Error> {
        let gone = self.workspace()?;
        self.put_aside(&self.root.join("layers/sha256"), goes, gone.path(), "layer")?;
        for (number, copies) in self.mappings()?.iter().enumerate() {
            self.put_aside(copies, goes, gone.path(), &format!("copy-{number}"))?;
            // Where others are left, it stays.
            let _ = std::fs::remove_dir(copies);
        }
        self.put_aside(&self.root.join("images/blobs/sha256"), goes, gone.path(), "blob")?;
        Ok(gone)
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
        let directory = self.root.join("bindings");
        let failed = |cause| Error::io("list", &directory, cause);
        let entries = match std::fs::read_dir(&directory) {
            Err(cause) if disk::is_absent(&cause) => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut bound = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let Some(unit) = name.to_str().and_then(|name| name.parse::<UnitName>().ok()) else {
                continue;
            };
            bound.extend(self.bound_by(&unit)?.into_iter().map(|digest| (unit.clone(), digest)));
        }
        Ok(bound)
    }

    /// All digests that the records of `index.json` and the pins lead to, whoever wrote them: documents
    /// are read for whatever in them looks like one.
    fn needed(&self) -> Result<BTreeSet<String>, Error> {
        let mut found: Vec<Digest> = self.read_index()?.digests();
        found.extend(self.pinned()?);
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
        let failed = |cause| Error::io("list", directory, cause);
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(hex) = name.to_str().filter(|name| goes(name)) else { continue };
            let from = directory.join(hex);
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
