//! Digests that were tried, failed, and were put back.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, Reference, UnitName};

/// So many are held at most; the oldest go first.
const MOST: usize = 4096;

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

impl Quarantined {
    /// When it may be tried again, where that is `after` some time.
    pub fn ends(&self, after: Option<Duration>) -> Option<Timestamp> {
        self.since.checked_add(after?).ok()
    }

    /// Whether it may be tried again at `now`.
    pub fn is_over(&self, now: Timestamp, after: Option<Duration>) -> bool {
        self.ends(after).is_some_and(|end| end <= now)
    }
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
            let more = (self.0.len() + 1).saturating_sub(MOST);
            self.0.drain(..more);
            self.0.push(entry);
        }
    }

    /// Drops the entries for which `matches` says so, and returns them.
    pub fn clear(&mut self, matches: impl Fn(&Quarantined) -> bool) -> Vec<Quarantined> {
        let (gone, kept) = std::mem::take(&mut self.0).into_iter().partition(|held| matches(held));
        self.0 = kept;
        gone
    }

    /// Without those that are over.
    pub fn in_force(mut self, now: Timestamp, after: Option<Duration>) -> Self {
        self.0.retain(|held| !held.is_over(now, after));
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = &Quarantined> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(repository: &str, manifest: &[u8], since: i64) -> Quarantined {
        Quarantined {
            repository: repository.into(),
            manifest: Digest::of(manifest),
            since: Timestamp::from_second(since).unwrap(),
            unit: "app.service".parse().unwrap(),
            cause: format!("at {since}"),
        }
    }

    #[test]
    fn an_image_is_known_by_repository_and_manifest() {
        let mut quarantine = Quarantine::default();
        quarantine.add(held("quay.io/app", b"bad", 1));
        quarantine.add(held("quay.io/app", b"bad", 2));
        let found = |reference: &str, manifest: &[u8]| {
            let reference = reference.parse().unwrap();
            let found = quarantine.find(&reference, &Digest::of(manifest));
            found.map(|held| held.cause.as_str())
        };
        assert_eq!(found("quay.io/app:1", b"bad"), Some("at 1"), "the first cause");
        assert_eq!(found("quay.io/app:other", b"bad"), Some("at 1"), "whatever the tag");
        assert_eq!(found("quay.io/app:1", b"good"), None);
        assert_eq!(found("quay.io/other:1", b"bad"), None);
    }

    #[test]
    fn it_ends_after_its_time_where_there_is_one() {
        let held = held("quay.io/app", b"bad", 100);
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let day = Some(Duration::from_secs(60));
        assert!(!held.is_over(at(159), day) && held.is_over(at(160), day));
        assert!(!held.is_over(at(1_000_000), None));
        assert!(!held.is_over(at(1_000_000), Some(Duration::MAX)), "no time is that far");
    }
}
