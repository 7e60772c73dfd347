//! Where images come from.

use bytes::Bytes;
use futures_util::Stream;

use crate::model::{Digest, Failure, ImageSource, Platform};

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

    /// The blob from `offset` on, up to `size`; not verified against its digest.
    async fn blob(
        &self,
        source: &ImageSource,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Failure>> + Unpin, Failure>;
}
