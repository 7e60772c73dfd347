//! Digests that were tried, failed, and were put back.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, Reference, UnitName};

/// So many are held at most; the oldest go first.
const MOST: usize = 4096;

/// In so many companies an image may fail its unit before it is bad in any.
const CHANCES: usize = 3;

/// One image that must not be tried again: nowhere, or not beside others.
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
    /// What the others of the unit's group ran when it failed; none where it went alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Beside>,
}

/// An image that another unit of a group ran, or another container of a unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Beside {
    pub repository: String,
    pub manifest: Digest,
    /// Whether it was new as well: then either may be to blame.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
}

/// What all of a group run: repository and manifest of each.
pub type Company = BTreeSet<(String, Digest)>;

impl Quarantined {
    /// When it may be tried again, where that is `after` some time.
    pub fn ends(&self, after: Option<Duration>) -> Option<Timestamp> {
        self.since.checked_add(after?).ok()
    }

    /// Whether it may be tried again at `now`.
    pub fn is_over(&self, now: Timestamp, after: Option<Duration>) -> bool {
        self.ends(after).is_some_and(|end| end <= now)
    }

    /// Why, with what it failed beside.
    pub fn why(&self) -> String {
        if self.beside.is_empty() {
            return self.cause.clone();
        }
        let name = |it: &Beside| {
            let new = if it.new { ", new as well" } else { "" };
            format!("{}@{}{new}", it.repository, it.manifest.short())
        };
        let beside: Vec<String> = self.beside.iter().map(name).collect();
        format!("{} (beside {})", self.cause, beside.join("; "))
    }

    /// Whether it is this image.
    pub fn is(&self, reference: &Reference, manifest: &Digest) -> bool {
        self.repository == reference.name() && &self.manifest == manifest
    }

    /// The image, and those beside which it failed.
    fn company(&self) -> Company {
        let beside = self.beside.iter().map(|it| (it.repository.clone(), it.manifest.clone()));
        beside.chain([(self.repository.clone(), self.manifest.clone())]).collect()
    }
}

/// All quarantined images of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quarantine(Vec<Quarantined>);

impl Quarantine {
    /// Why a unit without a group does not get the image: it failed, and no other image was new then.
    pub fn find(&self, reference: &Reference, manifest: &Digest) -> Option<&Quarantined> {
        self.find_anywhere(reference, manifest).or_else(|| {
            let alone = |held: &&Quarantined| held.beside.iter().all(|beside| !beside.new);
            self.of(reference, manifest).find(alone)
        })
    }

    /// Why a unit does not get the image whatever others have: it failed alone, or beside others again
    /// and again.
    pub fn find_anywhere(&self, reference: &Reference, manifest: &Digest) -> Option<&Quarantined> {
        let alone = self.of(reference, manifest).find(|held| held.beside.is_empty());
        alone.or_else(|| self.of(reference, manifest).nth(CHANCES - 1))
    }

    /// The entry of a group that had exactly these images when one of them failed.
    pub fn find_company(&self, company: &Company) -> Option<&Quarantined> {
        self.0.iter().find(|held| !held.beside.is_empty() && &held.company() == company)
    }

    fn of(&self, reference: &Reference, manifest: &Digest) -> impl Iterator<Item = &Quarantined> {
        self.0.iter().filter(|held| held.is(reference, manifest))
    }

    /// Adds one; the first cause stays where the image was there already, beside the same.
    pub fn add(&mut self, entry: Quarantined) {
        let known = |held: &Quarantined| {
            let same = held.repository == entry.repository && held.manifest == entry.manifest;
            same && held.company() == entry.company()
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
            beside: vec![],
        }
    }

    fn beside(repository: &str, manifest: &[u8], new: bool) -> Beside {
        Beside { repository: repository.into(), manifest: Digest::of(manifest), new }
    }

    #[test]
    fn what_failed_beside_others_is_bad_beside_the_same_only() {
        let app: Reference = "quay.io/app:1".parse().unwrap();
        let bad = Digest::of(b"bad");
        let company = |db: &[u8]| -> Company {
            [("quay.io/app".into(), bad.clone()), ("quay.io/db".into(), Digest::of(db))].into()
        };
        for new in [true, false] {
            let mut quarantine = Quarantine::default();
            let entry = |db: &[u8]| Quarantined {
                beside: vec![beside("quay.io/db", db, new)],
                ..held("quay.io/app", b"bad", 1)
            };
            quarantine.add(entry(b"db 1"));
            quarantine.add(entry(b"db 1"));
            assert_eq!(quarantine.iter().count(), 1);
            assert!(quarantine.find_company(&company(b"db 1")).is_some());
            assert!(quarantine.find_company(&company(b"db 2")).is_none());
            assert_eq!(quarantine.find(&app, &bad).is_none(), new, "who else may be to blame");
            quarantine.add(entry(b"db 2"));
            assert!(quarantine.find_anywhere(&app, &bad).is_none(), "it is given another chance");
            quarantine.add(entry(b"db 3"));
            assert!(quarantine.find_anywhere(&app, &bad).is_some(), "and not for ever");
            assert!(
                quarantine.find(&"quay.io/db:1".parse().unwrap(), &Digest::of(b"db 1")).is_none()
            );
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
