//! The last few manifests read: choosing a platform and pulling its image ask for the same index
//! moments apart, and every GET counts against a registry's quota.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::gate::lock;
use super::manifest::RawManifest;
use crate::model::{Digest, ImageSource};

/// How many are kept, and how large one may be, in bytes: 512 KiB altogether.
const KEPT: usize = 8;
const MAX_KEPT_SIZE: usize = 64 * 1024;

/// Manifests by digest, so never out of date, and by who read them, so that nobody gets what the
/// registry would not give them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    manifests: Mutex<VecDeque<(ImageSource, RawManifest)>>,
}

impl Recent {
    pub(super) fn get(&self, source: &ImageSource, digest: &Digest) -> Option<RawManifest> {
        let manifests = lock(&self.manifests);
        let mut all = manifests.iter();
        let found = all.find(|(reader, manifest)| reader == source && manifest.digest == *digest);
        found.map(|(_, manifest)| manifest.clone())
    }

    pub(super) fn keep(&self, source: &ImageSource, manifest: &RawManifest) {
        if manifest.bytes.len() > MAX_KEPT_SIZE {
            return;
        }
        let mut manifests = lock(&self.manifests);
        while manifests.len() >= KEPT {
            manifests.pop_front();
        }
        manifests.push_back((source.clone(), manifest.clone()));
    }
}
