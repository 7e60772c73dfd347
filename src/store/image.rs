//! Images of the store, ready to be run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use oci_spec::image::ImageConfiguration;
use serde::Deserialize;

use super::layout::{Descriptor, Index};
use super::{Error, Store};
use crate::disk;
use crate::model::{Digest, ImageIdentity, Platform, Reference};
use crate::registry::manifest::MAX_MANIFEST;

/// The largest manifest, index or configuration, in bytes.
pub(super) const MAX_DOCUMENT: u64 = MAX_MANIFEST;

/// An image whose layers are all in place.
#[derive(Debug, Clone)]
pub struct Image {
    pub identity: ImageIdentity,
    /// The digest of its configuration: what other engines call its ID.
    pub id: Digest,
    /// Of its manifest.
    pub media_type: String,
    /// What its manifest says of it, besides.
    pub annotations: BTreeMap<String, String>,
    /// The tags that name it, in no order.
    pub references: Vec<Reference>,
    /// Whether anybody has a name for it: another program's need not be a reference.
    pub is_named: bool,
    pub config: ImageConfiguration,
    /// The `Healthcheck` of its configuration, as it stands there: a key of Docker's.
    pub healthcheck: Option<serde_json::Value>,
    /// The layers' directories, bottom first, none twice: overlayfs takes them as `lowerdir`
    /// (reversed, top first). None for an image without layers.
    pub layers: Vec<PathBuf>,
    /// What a pull of everything transfers, in bytes: manifest, configuration, compressed layers.
    pub size: u64,
    /// When it was built, as its configuration says.
    pub created: Option<Timestamp>,
}

/// As much of a manifest as the store needs (image-spec, `manifest.md`).
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Blob,
    pub(super) layers: Vec<Blob>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "artifactType")]
    artifact_type: Option<String>,
}

impl Manifest {
    /// Whether it is one of a container image, and not of another artifact in the same form.
    pub(super) fn is_image(&self) -> bool {
        matches!(
            self.config.media_type.as_str(),
            "application/vnd.oci.image.config.v1+json"
                | "application/vnd.docker.container.image.v1+json"
        )
    }

    /// What an artifact is (image-spec, `manifest.md`, "Guidelines for Artifact Usage").
    pub(super) fn artifact_type(&self) -> &str {
        self.artifact_type.as_deref().unwrap_or(&self.config.media_type)
    }
}

/// A descriptor in a manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What a configuration may have besides the OCI's keys.
#[derive(Debug, Default, Deserialize)]
struct Extension {
    config: Option<ExtendedConfig>,
}

#[derive(Debug, Default, Deserialize)]
struct ExtendedConfig {
    #[serde(rename = "Healthcheck")]
    healthcheck: Option<serde_json::Value>,
}

impl Store {
    /// The image that `reference` names: by digest if it has one (the manifest's or the index's),
    /// else by tag. `None` where there is none, or where not all of its layers are here.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        let index = self.read_index()?;
        index.find(reference).map_or(Ok(None), |record| self.load(&index, record))
    }

    /// The image with this platform manifest; see [`Store::resolve`].
    pub fn image(&self, manifest: &Digest) -> Result<Option<Image>, Error> {
        let index = self.read_index()?;
        index.find_manifest(manifest).map_or(Ok(None), |record| self.load(&index, record))
    }

    /// Whether there is an image with this platform manifest.
    pub fn has(&self, manifest: &Digest) -> Result<bool, Error> {
        Ok(self.read_index()?.find_manifest(manifest).is_some())
    }

    /// All images, each once, in the order in which they came.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let index = self.read_index()?;
        let mut seen = std::collections::HashSet::new();
        let mut images = Vec::new();
        for manifest in index.manifests().filter(|manifest| seen.insert(*manifest)) {
            if let Some(record) = index.find_manifest(manifest) {
                images.extend(self.load(&index, record)?);
            }
        }
        Ok(images)
    }

    /// Reads the documents of a record. `None` for a record of another program that has brought
    /// no layers, or whose manifest is none of an image.
    fn load(&self, index: &Index, record: &Descriptor) -> Result<Option<Image>, Error> {
        let Some(bytes) = self.read_blob(&record.digest)? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(None) };
        if !manifest.is_image() {
            return Ok(None);
        }
        let Some(config_bytes) = self.read_blob(&manifest.config.digest)? else { return Ok(None) };
        let config: ImageConfiguration =
            serde_json::from_slice(&config_bytes).map_err(|source| Error::Syntax {
                path: self.blob_path(&manifest.config.digest),
                source,
            })?;
        // Read already: what does not parse is an error by now.
        let extension = serde_json::from_slice::<Extension>(&config_bytes).unwrap_or_default();
        let Some(layers) = self.layers(&config) else { return Ok(None) };
        if layers.iter().any(|layer| !layer.is_dir()) {
            return Ok(None);
        }
        let identity = ImageIdentity {
            target: record.target(),
            manifest: record.digest.clone(),
            platform: platform_of(&config, || record.variant()),
        };
        let blobs: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
        Ok(Some(Image {
            references: index.references(&identity.manifest),
            is_named: index.is_named(&identity.manifest),
            identity,
            id: manifest.config.digest,
            media_type: record.media_type().to_owned(),
            annotations: manifest.annotations.unwrap_or_default(),
            layers,
            size: blobs + (bytes.len() + config_bytes.len()) as u64,
            created: config.created().as_deref().and_then(|text| text.parse().ok()),
            config,
            healthcheck: extension.config.and_then(|config| config.healthcheck),
        }))
    }

    pub(super) fn read_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let path = self.blob_path(digest);
        disk::read(&path, MAX_DOCUMENT).map_err(|cause| Error::read(&path, cause))
    }

    /// The directories of the layers, bottom first. Overlayfs takes no directory twice: of a layer
    /// that comes again only the topmost place counts, since there it covers all of its own files.
    pub(super) fn layers(&self, config: &ImageConfiguration) -> Option<Vec<PathBuf>> {
        let ids = config.rootfs().diff_ids();
        let mut layers = Vec::with_capacity(ids.len());
        for (at, id) in ids.iter().enumerate() {
            let digest = id.parse().ok()?;
            if !ids[at + 1..].contains(id) {
                layers.push(self.layer_path(&digest));
            }
        }
        Some(layers)
    }
}

/// The platform an image's configuration says it is for. Many leave the variant out: then `offered`
/// says what the index has it for.
pub(super) fn platform_of(
    config: &ImageConfiguration,
    offered: impl FnOnce() -> Option<String>,
) -> Platform {
    let variant = config.variant().clone().filter(|variant| !variant.is_empty());
    Platform {
        os: config.os().to_string(),
        architecture: config.architecture().to_string(),
        variant: variant.or_else(offered),
    }
}

/// The variant that an index (its bytes) has `manifest` for.
pub(super) fn offered_variant(index: &[u8], manifest: &Digest) -> Option<String> {
    #[derive(Deserialize)]
    struct Offers {
        manifests: Vec<Offer>,
    }
    #[derive(Deserialize)]
    struct Offer {
        digest: String,
        platform: Option<Platform>,
    }
    let offers: Offers = serde_json::from_slice(index).ok()?;
    let manifest = manifest.to_string();
    let offer = offers.manifests.into_iter().find(|offer| offer.digest == manifest)?;
    offer.platform?.variant.filter(|variant| !variant.is_empty())
}
