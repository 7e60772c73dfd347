//! Since when this host knows the images that its units do not run yet.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::{Digest, ImageIdentity, Reference};

/// So many references are kept at most; those that were noted first go first.
const MOST: usize = 4096;

/// How long one that no container uses is kept.
const UNUSED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An image that some unit may get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub image: ImageIdentity,
    pub since: Timestamp,
    /// Whether it was told that it is there.
    #[serde(default)]
    pub told: bool,
    /// Whether it is in storage for units that may not have it yet.
    #[serde(default)]
    pub awaited: bool,
}

/// What each reference stood for when it was checked last: an image for each platform.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seen(BTreeMap<Reference, Vec<Sighting>>);

impl Seen {
    /// Since when the image is known.
    pub fn since(&self, reference: &Reference, manifest: &Digest) -> Option<Timestamp> {
        self.find(reference, manifest).map(|sighting| sighting.since)
    }

    fn find(&self, reference: &Reference, manifest: &Digest) -> Option<&Sighting> {
        self.of(reference).iter().find(|sighting| &sighting.image.manifest == manifest)
    }

    /// What a reference stood for that not all of its units ran.
    pub fn of(&self, reference: &Reference) -> &[Sighting] {
        self.0.get(reference).map_or(&[], Vec::as_slice)
    }

    /// The images that are in storage for units that wait.
    pub fn awaited(&self) -> impl Iterator<Item = &ImageIdentity> {
        let all = self.0.values().flatten().filter(|sighting| sighting.awaited);
        all.map(|sighting| &sighting.image)
    }

    /// Whether an image is kept for units that wait: what is tried on units is not, however that ends.
    pub fn keep(&mut self, reference: &Reference, manifest: &Digest, keep: bool) {
        let sightings = self.0.get_mut(reference).into_iter().flatten();
        let own = sightings.filter(|sighting| &sighting.image.manifest == manifest);
        own.for_each(|sighting| sighting.awaited = keep);
    }

    /// A check found that `reference` stands for these images and no other, of those that not all of its
    /// units run.
    pub fn note(&mut self, reference: &Reference, images: &[&ImageIdentity], now: Timestamp) {
        let mut found: Vec<Sighting> = Vec::new();
        for image in images {
            let known = self.find(reference, &image.manifest);
            let new =
                || Sighting { image: (*image).clone(), since: now, told: false, awaited: false };
            if !found.iter().any(|other| other.image.manifest == image.manifest) {
                found.push(known.cloned().unwrap_or_else(new));
            }
        }
        match found.is_empty() {
            true => self.0.remove(reference),
            false => self.0.insert(reference.clone(), found),
        };
        if self.0.len() > MOST {
            let first = |sightings: &Vec<Sighting>| sightings.iter().map(|it| it.since).min();
            let oldest = self.0.iter().min_by_key(|(_, sightings)| first(sightings));
            let oldest = oldest.map(|(reference, _)| reference.clone());
            oldest.iter().for_each(|reference| drop(self.0.remove(reference)));
        }
    }

    /// Forgets references that nobody has used for long: a unit at rest has no container that would tell
    /// of its own.
    pub fn forget(&mut self, now: Timestamp, is_used: impl Fn(&Reference) -> bool) {
        let is_old = |sighting: &Sighting| now.duration_since(sighting.since) > UNUSED;
        self.0.retain(|reference, sightings| is_used(reference) || !sightings.iter().all(is_old));
    }

    /// Has it told once that there is an image; says whether it was not yet.
    pub fn tell(&mut self, reference: &Reference, manifest: &Digest) -> bool {
        let sightings = self.0.get_mut(reference).into_iter().flatten();
        let mut own = sightings.filter(|sighting| &sighting.image.manifest == manifest);
        own.next().is_some_and(|sighting| !std::mem::replace(&mut sighting.told, true))
    }
}
