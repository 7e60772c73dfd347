//! Where images come from.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use crate::model::{Digest, Failure, FailureKind, ImageSource, Platform};
use crate::registry::{self, RawManifest};

/// A manifest or index, its bytes verified against its digest, 4 MiB at most.
#[derive(Debug, Clone)]
pub struct Document {
    pub media_type: String,
    pub bytes: Bytes,
    pub digest: Digest,
}

/// What leads from a target to an image.
#[derive(Debug, Clone)]
pub struct Documents {
    /// The target, where it is an index.
    pub index: Option<Document>,
    /// The platform's manifest.
    pub manifest: Document,
}

/// A registry, as a pull needs it. Futures are not `Send`.
#[allow(async_fn_in_trait, reason = "used generically on one thread only")]
pub trait Remote {
    /// The digest the reference points at now.
    async fn target(&self, source: &ImageSource) -> Result<Digest, Failure>;

    /// The documents behind `target`, which is an index or a manifest.
    async fn documents(
        &self,
        source: &ImageSource,
        target: &Digest,
        platform: &Platform,
    ) -> Result<Documents, Failure>;

    /// Whether this host lets the image in: asked before anything of it is unpacked.
    ///
    /// # Errors
    /// Where it does not, and where that cannot be told.
    async fn admit(&self, source: &ImageSource, documents: &Documents) -> Result<(), Failure>;

    /// From now on it is asked again, though nobody was reached a moment ago: to be called by who has waited
    /// meanwhile.
    fn try_again(&self, source: &ImageSource);

    /// The blob from `offset` on, up to `size`; not verified against its digest.
    async fn blob(
        &self,
        source: &ImageSource,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Unpin, Failure>;
}

impl From<RawManifest> for Document {
    fn from(raw: RawManifest) -> Self {
        Self { media_type: raw.media_type, bytes: raw.bytes, digest: raw.digest }
    }
}

impl Remote for registry::Client {
    async fn target(&self, source: &ImageSource) -> Result<Digest, Failure> {
        registry::Client::target(self, source).await.map_err(Failure::from)
    }

    async fn documents(
        &self,
        source: &ImageSource,
        target: &Digest,
        platform: &Platform,
    ) -> Result<Documents, Failure> {
        let raw = self.manifest(source, target).await?;
        if !raw.is_index() {
            return Ok(Documents { index: None, manifest: raw.into() });
        }
        let digest = raw.for_platform(platform).map_err(|fault| {
            let message = format!("{}: {fault}", source.reference);
            Failure::new(FailureKind::InvalidContent, message)
        })?;
        let manifest = self.manifest(source, &digest).await?;
        if manifest.is_index() {
            let message = format!("{}: {digest} is an index within an index", source.reference);
            return Err(Failure::new(FailureKind::InvalidContent, message));
        }
        Ok(Documents { index: Some(raw.into()), manifest: manifest.into() })
    }

    async fn admit(&self, source: &ImageSource, documents: &Documents) -> Result<(), Failure> {
        let index = documents.index.as_ref().map(|index| &index.digest);
        let digests: Vec<_> = [&documents.manifest.digest].into_iter().chain(index).collect();
        registry::Client::admit(self, source, &digests).await
    }

    fn try_again(&self, source: &ImageSource) {
        registry::Client::try_again(self, source);
    }

    async fn blob(
        &self,
        source: &ImageSource,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Unpin, Failure> {
        let blob = registry::Client::blob(self, source, digest, size, offset).await?;
        let pieces = blob.then(async |piece| {
            let piece = piece.map_err(Failure::from)?;
            self.slow_down(piece.len()).await;
            Ok(piece)
        });
        Ok(pieces.boxed_local())
    }
}
