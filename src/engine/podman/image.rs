//! What Podman knows of an image, in the words of the pipeline.

use std::collections::BTreeMap;

use super::document;
use crate::model::{Digest, ImageIdentity, Platform};

/// An image in Podman's storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// 64 hexadecimal digits.
    pub(super) id: String,
    pub(super) identity: ImageIdentity,
    /// All digests it is known by, of indexes and manifests. Podman does not tell one from the other,
    /// and forgets all but one where the image has no name left.
    pub(super) digests: Vec<Digest>,
    /// What its own configuration says, which a container's labels contain.
    pub(super) labels: BTreeMap<String, String>,
    /// Its layers' diff IDs, bottom first, none twice.
    pub(super) layers: Vec<Digest>,
}

impl Facts {
    /// `None` where the document has no ID of an image.
    pub(super) fn new(image: document::Image, host: &Platform) -> Option<Self> {
        // The ID is the digest of the image's configuration: what names it where nothing else does.
        let id: Digest = format!("sha256:{}", image.id).parse().ok()?;
        let named =
            image.repo_digests.iter().filter_map(|name| name.rsplit_once('@')?.1.parse().ok());
        let target: Option<Digest> = image.digest.parse().ok();
        let mut digests: Vec<Digest> = target.clone().into_iter().chain(named).collect();
        digests.sort();
        digests.dedup();
        let target = target.or_else(|| digests.first().cloned()).unwrap_or(id);
        let mut others = digests.iter().filter(|digest| **digest != target);
        // With an index and one manifest, the index is what it was pulled by.
        let manifest = match (others.next(), others.next()) {
            (Some(manifest), None) => manifest.clone(),
            _ => target.clone(),
        };
        let platform = platform(&image, host);
        let identity = ImageIdentity { target, manifest, platform };
        let mut layers: Vec<Digest> = Vec::new();
        for layer in image.root_fs.layers.iter().filter_map(|layer| layer.parse().ok()) {
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        Some(Self { id: image.id, identity, digests, labels: image.labels, layers })
    }

    /// Whether it is this image. An index's digest is that of all its platforms' images.
    pub(super) fn is(&self, image: &ImageIdentity) -> bool {
        self.knows(&image.manifest)
            || (self.knows(&image.target) && self.identity.platform == image.platform)
    }

    pub(super) fn knows(&self, digest: &Digest) -> bool {
        self.digests.contains(digest) || &self.identity.target == digest
    }

    /// Adds what was known of the same image before: names come and go, digests stay true.
    pub(super) fn with(mut self, before: Option<&Self>) -> Self {
        let Some(before) = before.filter(|before| before.id == self.id) else { return self };
        self.digests.extend(before.digests.iter().cloned());
        self.digests.sort();
        self.digests.dedup();
        self
    }
}

/// Podman leaves the variant out: an image for this machine's architecture is one for its variant.
fn platform(image: &document::Image, host: &Platform) -> Platform {
    let variant = image.variant.clone().filter(|variant| !variant.is_empty());
    let own = (&host.os, &host.architecture) == (&image.os, &image.architecture);
    Platform {
        os: image.os.clone(),
        architecture: image.architecture.clone(),
        variant: variant.or_else(|| host.variant.clone().filter(|_| own)),
    }
}
