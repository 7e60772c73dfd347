//! How much room an image takes on a disk, as far as a registry tells it before the pull.

use super::{Blob, Configuration, Error, ImageSource, Manifest, Missing, Remote};
use crate::model::{Digest, ImageIdentity};
use crate::store::unpack::EXPANSION;

impl Blob {
    /// About what this layer takes on the disk, where compressed ones grow to so many times their size.
    pub(super) fn unpacked(&self, expansion: u64) -> u64 {
        let is_compressed = ["gzip", "zstd"].iter().any(|kind| self.media_type.ends_with(kind));
        if is_compressed { self.size.saturating_mul(expansion) } else { self.size }
    }
}

/// An image in a registry, for who pulls it otherwise than this module does. Nothing is written, and nothing of
/// it is believed but sizes: whether the host lets it in is for the pull.
#[derive(Debug)]
pub struct Offer {
    source: ImageSource,
    manifest: Manifest,
}

/// A layer of an image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub diff_id: Digest,
    /// About what it takes while it is pulled: its blob, and what it unpacks to.
    pub room: u64,
}

impl Offer {
    /// What `image` is by its manifest, which the check of a moment ago has read already unless there is
    /// an index before it.
    ///
    /// # Errors
    /// Where the registry fails, or what it has is no image.
    pub async fn read(
        remote: &impl Remote,
        source: &ImageSource,
        image: &ImageIdentity,
    ) -> Result<Self, Error> {
        let documents = remote.documents(source, &image.target, &image.platform).await;
        let manifest = super::manifest(source, &documents.map_err(Error::Remote)?)?;
        Ok(Self { source: source.clone(), manifest })
    }

    /// What the whole image takes, whatever of it is there already.
    pub fn most(&self) -> u64 {
        self.manifest.layers.iter().map(room).fold(0, u64::saturating_add)
    }

    /// Its layers, bottom first, none twice: which they are, the configuration tells, which is fetched.
    ///
    /// # Errors
    /// Where the registry fails, or the configuration is none.
    pub async fn layers(self, remote: &impl Remote) -> Result<Vec<Layer>, Error> {
        let Configuration { layers, .. } =
            super::configuration(remote, &self.source, self.manifest).await?;
        let layer = |Missing { diff_id, blob }| Layer { diff_id, room: room(&blob) };
        Ok(layers.into_iter().map(layer).collect())
    }
}

fn room(blob: &Blob) -> u64 {
    blob.size.saturating_add(blob.unpacked(EXPANSION))
}
