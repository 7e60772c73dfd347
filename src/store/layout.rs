//! The OCI image layout: `oci-layout`, `index.json` and blobs (image-spec, `image-layout.md`).
//!
//! A descriptor in `index.json` is the record of an image: with the full reference as
//! `org.opencontainers.image.ref.name` for each tag, and one without where no tag names it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Error, Store};
use crate::disk;
use crate::model::{Digest, ImageIdentity, Platform, Reference};

/// The full reference, digest excluded: what `skopeo inspect oci:DIR:REFERENCE` looks for.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The digest that the tag had in the registry, where an index led to the manifest.
const TARGET: &str = "org.updaterd.target";
/// The largest `index.json` read, in bytes: some hundred thousand images.
const MAX_INDEX: u64 = 64 * 1024 * 1024;

/// `index.json`, with whatever other programs have written into it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    schema_version: u32,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(flatten)]
    other: BTreeMap<String, serde_json::Value>,
}

/// One entry of `index.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: String,
    pub(super) digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    other: BTreeMap<String, serde_json::Value>,
}

impl Descriptor {
    /// The record of an image that no tag names.
    pub(super) fn new(media_type: String, size: u64, identity: &ImageIdentity) -> Self {
        let mut annotations = BTreeMap::new();
        if identity.target != identity.manifest {
            annotations.insert(TARGET.to_owned(), identity.target.to_string());
        }
        let platform = Some(identity.platform.clone());
        let (digest, other) = (identity.manifest.clone(), BTreeMap::new());
        Self { media_type, digest, size, platform, annotations, other }
    }

    pub(super) fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The tag, as written; other programs write shorter names, which are no references.
    fn name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }

    /// What the tag pointed at in the registry.
    pub(super) fn target(&self) -> Digest {
        let target = self.annotations.get(TARGET).and_then(|text| text.parse().ok());
        target.unwrap_or_else(|| self.digest.clone())
    }

    /// The variant of the platform it was pulled for.
    pub(super) fn variant(&self) -> Option<String> {
        self.platform.as_ref()?.variant.clone()
    }

    fn same_image(&self, other: &Self) -> bool {
        self.digest == other.digest && self.target() == other.target()
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { schema_version: 2, manifests: vec![], other: BTreeMap::new() }
    }
}

impl Index {
    /// The record that `reference` means: by digest, manifest's or index's, if it has one, else
    /// by tag.
    pub(super) fn find(&self, reference: &Reference) -> Option<&Descriptor> {
        match reference.digest() {
            Some(digest) => {
                let means =
                    |entry: &&Descriptor| entry.digest == *digest || entry.target() == *digest;
                self.manifests.iter().rev().find(means)
            }
            None => {
                let name = reference.to_string();
                self.manifests.iter().find(|entry| entry.name() == Some(&name))
            }
        }
    }

    /// The newest record of the manifest.
    pub(super) fn find_manifest(&self, manifest: &Digest) -> Option<&Descriptor> {
        self.manifests.iter().rev().find(|entry| entry.digest == *manifest)
    }

    pub(super) fn manifests(&self) -> impl Iterator<Item = &Digest> {
        self.manifests.iter().map(|entry| &entry.digest)
    }

    /// All tags of the manifest.
    pub(super) fn references(&self, manifest: &Digest) -> Vec<Reference> {
        let own = self.manifests.iter().filter(|entry| entry.digest == *manifest);
        own.filter_map(|entry| entry.name()?.parse().ok()).collect()
    }

    /// Whether anybody has a name for the manifest, this program's or another's.
    pub(super) fn is_named(&self, manifest: &Digest) -> bool {
        self.manifests.iter().any(|entry| entry.digest == *manifest && entry.name().is_some())
    }

    /// Records an image under no tag. Whether that changed anything.
    pub(super) fn add(&mut self, record: Descriptor) -> bool {
        let known = self.manifests.iter().any(|entry| entry.same_image(&record));
        if !known {
            self.manifests.push(record);
        }
        !known
    }

    /// Moves the tag `name` to the newest record of `manifest`; `false` where there is none.
    fn tag(&mut self, name: &str, manifest: &Digest) -> bool {
        let Some(mut record) = self.find_manifest(manifest).cloned() else { return false };
        self.remove_tag(name);
        record.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        self.manifests.retain(|entry| entry.name().is_some() || !entry.same_image(&record));
        self.manifests.push(record);
        true
    }

    /// Takes the tag `name` away; the image stays. Whether there was one.
    pub(super) fn remove_tag(&mut self, name: &str) -> bool {
        let Some(at) = self.manifests.iter().position(|entry| entry.name() == Some(name)) else {
            return false;
        };
        let mut record = self.manifests.remove(at);
        record.annotations.remove(REF_NAME);
        self.add(record);
        true
    }

    /// Takes all records of the manifest away. Whether there were any.
    pub(super) fn remove(&mut self, manifest: &Digest) -> bool {
        let before = self.manifests.len();
        self.manifests.retain(|entry| entry.digest != *manifest);
        self.manifests.len() < before
    }

    /// What the records name: manifests, and the indexes that led to them.
    pub(super) fn digests(&self) -> Vec<Digest> {
        let both = |entry: &Descriptor| [entry.digest.clone(), entry.target()];
        self.manifests.iter().flat_map(both).collect()
    }
}

impl Store {
    fn index_path(&self) -> PathBuf {
        self.root.join("images/index.json")
    }

    /// Writes `oci-layout` and an empty `index.json` where they are not there.
    pub(super) fn create_layout(&self) -> Result<(), Error> {
        let layout = self.root.join("images/oci-layout");
        if self.index_path().exists() && layout.exists() {
            return Ok(());
        }
        let _lock = self.lock_index()?;
        if !layout.exists() {
            disk::replace(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)
                .map_err(|cause| Error::write(&layout, cause))?;
        }
        if !self.index_path().exists() {
            self.write_index(&Index::default())?;
        }
        Ok(())
    }

    pub(super) fn read_index(&self) -> Result<Index, Error> {
        let path = self.index_path();
        match disk::read(&path, MAX_INDEX).map_err(|cause| Error::read(&path, cause))? {
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| Error::Syntax { path, source })
            }
            None => Ok(Index::default()),
        }
    }

    /// The caller holds the lock of the index.
    fn write_index(&self, index: &Index) -> Result<(), Error> {
        let path = self.index_path();
        let bytes = serde_json::to_vec(index)
            .map_err(|source| Error::Syntax { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|cause| Error::write(&path, cause))
    }

    /// The manifests of all images, whole or not.
    pub fn manifests(&self) -> Result<Vec<Digest>, Error> {
        Ok(self.read_index()?.manifests().cloned().collect())
    }

    /// Records an image under no tag: the commit point of a pull.
    pub(super) fn record(&self, record: Descriptor) -> Result<(), Error> {
        self.change_index(|index| index.add(record)).map(drop)
    }

    /// Writes the index where `change` says that it changed it; whether it did. Durable on return.
    pub(super) fn change_index(
        &self,
        change: impl FnOnce(&mut Index) -> bool,
    ) -> Result<bool, Error> {
        self.try_change_index(|index| Ok(change(index)))
    }

    /// The same, of a change that may fail.
    pub(super) fn try_change_index(
        &self,
        change: impl FnOnce(&mut Index) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        if !self.index_path().exists() {
            return Ok(false);
        }
        let _lock = self.lock_index()?;
        let mut index = self.read_index()?;
        let changed = change(&mut index)?;
        if changed {
            self.write_index(&index)?;
        }
        Ok(changed)
    }

    /// Moves the tag of `reference` to the image `manifest`. Durable on return.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::NoTag`] where the reference has a digest but no tag.
    pub fn tag(&self, reference: &Reference, manifest: &Digest) -> Result<(), Error> {
        let name = tag_name(reference)?;
        if self.read_index()?.find_manifest(manifest).is_none() {
            return Err(Error::NoSuchImage(manifest.clone()));
        }
        let _lock = self.lock_index()?;
        let mut index = self.read_index()?;
        if !index.tag(&name, manifest) {
            return Err(Error::NoSuchImage(manifest.clone()));
        }
        self.write_index(&index)
    }
}

/// `registry/repository:tag`, whether or not a digest follows.
fn tag_name(reference: &Reference) -> Result<String, Error> {
    let tag = reference.tag().ok_or_else(|| Error::NoTag(Box::new(reference.clone())))?;
    Ok(format!("{}:{tag}", reference.name()))
}
