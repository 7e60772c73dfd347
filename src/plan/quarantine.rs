//! Digests that were tried, failed, and were put back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, Reference, UnitName};

/// One image that must not be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Registry and repository, without tag: a retagged copy is the same image.
    pub repository: String,
    /// The platform manifest's digest.
    pub manifest: Digest,
    pub since: Timestamp,
    /// The unit that it failed.
    pub unit: UnitName,
    /// Why, in one line.
    pub cause: String,
}

/// All quarantined images of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quarantine(Vec<Quarantined>);

impl Quarantine {
    pub fn find(&self, reference: &Reference, manifest: &Digest) -> Option<&Quarantined> {
        let repository = reference.name();
        self.0.iter().find(|held| held.repository == repository && &held.manifest == manifest)
    }

    /// Adds one; the first cause stays where the image was there already.
    pub fn add(&mut self, entry: Quarantined) {
        let known = |held: &Quarantined| {
            held.repository == entry.repository && held.manifest == entry.manifest
        };
        if !self.0.iter().any(known) {
            self.0.push(entry);
        }
    }

    /// Drops the entries for which `matches` says so, and returns them.
    pub fn clear(&mut self, matches: impl Fn(&Quarantined) -> bool) -> Vec<Quarantined> {
        let (gone, kept) = std::mem::take(&mut self.0).into_iter().partition(|held| matches(held));
        self.0 = kept;
        gone
    }

    pub fn iter(&self) -> impl Iterator<Item = &Quarantined> {
        self.0.iter()
    }
}
