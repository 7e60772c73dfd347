//! What a check remembers for the next one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Registries;
use super::absence::Absences;
use super::backoff::Backoff;
use super::put_off::PutOffs;
use super::seen::Seen;
use crate::model::{Digest, ImageIdentity, ImageSource, Platform, Reference};

/// Failures in a row by source, and which platform manifest stood behind which index: a changed
/// index whose platform manifest is the same costs one GET, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    backoffs: BTreeMap<String, Backoff>,
    identities: Vec<Known>,
    /// Images that were taken back for what was not their doing.
    pub put_offs: PutOffs,
    /// What is known of the registries' hosts.
    pub registries: Registries,
    /// Images that not all units run that may have them.
    pub seen: Seen,
    /// Units that have images kept and are not there any more.
    pub absences: Absences,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    repository: String,
    image: ImageIdentity,
}

impl Memory {
    /// How many identities are kept; the oldest go first.
    pub const IDENTITIES: usize = 4096;

    pub fn backoff(&self, source: &ImageSource) -> Option<&Backoff> {
        self.backoffs.get(&key(source))
    }

    pub fn failed(&mut self, source: &ImageSource, backoff: Backoff) {
        self.backoffs.insert(key(source), backoff);
    }

    pub fn answered(&mut self, source: &ImageSource) {
        self.backoffs.remove(&key(source));
    }

    /// Forgets sources that no container uses any more.
    pub fn retain_sources<'a>(&mut self, sources: impl Iterator<Item = &'a ImageSource>) {
        let keys: Vec<String> = sources.map(key).collect();
        self.backoffs.retain(|held, _| keys.contains(held));
    }

    pub fn identity(
        &self,
        reference: &Reference,
        target: &Digest,
        platform: &Platform,
    ) -> Option<&ImageIdentity> {
        let repository = reference.name();
        let matches = |known: &&Known| {
            known.repository == repository
                && &known.image.target == target
                && &known.image.platform == platform
        };
        self.identities.iter().find(matches).map(|known| &known.image)
    }

    pub fn learn(&mut self, reference: &Reference, image: ImageIdentity) {
        if self.identity(reference, &image.target, &image.platform).is_some() {
            return;
        }
        if self.identities.len() >= Self::IDENTITIES {
            self.identities.remove(0);
        }
        self.identities.push(Known { repository: reference.name(), image });
    }
}

fn key(source: &ImageSource) -> String {
    match &source.authfile {
        Some(authfile) => format!("{} {}", source.reference, authfile.display()),
        None => source.reference.to_string(),
    }
}
