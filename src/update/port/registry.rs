//! The port to registries.

use crate::model::{Digest, Failure, ImageIdentity, ImageSource, Platform};
use crate::plan::Budget;

/// The registries, asked read-only. A host that could not be reached, or said that it is asked too
/// much, is not asked again in the same pass: whatever else it was to be asked fails with it, at once.
pub trait Registry {
    /// The host that is asked for `source`.
    async fn host(&self, source: &ImageSource) -> Result<String, Failure>;

    /// From now on such hosts are asked again.
    fn begin_pass(&self);

    /// What this host said last of its limit on pulls, where it has one.
    fn budget(&self, host: &str) -> Option<Budget>;

    /// The digest the reference points at now: one HEAD (a GET where the registry sends no
    /// digest). For a multi-platform image that is the index's digest.
    async fn target(&self, source: &ImageSource) -> Result<Digest, Failure>;

    /// The identity of the image for `platform` behind `target`, which `source` points at: one GET
    /// where `target` is an index.
    async fn identify(
        &self,
        source: &ImageSource,
        target: &Digest,
        platform: &Platform,
    ) -> Result<ImageIdentity, Failure>;
}
