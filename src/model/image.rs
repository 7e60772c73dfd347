//! What an image is, and where one comes from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Digest, Platform, Reference};

/// The digests by which one image is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageIdentity {
    /// What the tag pointed at when the image was pulled: the index's digest where there was an
    /// index, else the same as `manifest`.
    pub target: Digest,
    /// The platform's own manifest: the identity by which images are compared and quarantined.
    pub manifest: Digest,
    pub platform: Platform,
}

/// Where a registry is asked, and as whom: the key by which checks are shared between containers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageSource {
    pub reference: Reference,
    /// A credentials file named by a label or a flag; `None` is the usual search (auth.json(5)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authfile: Option<PathBuf>,
}
