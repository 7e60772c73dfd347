//! Images that something other than themselves kept from their units: when they are tried again by
//! themselves. Each try may cost a unit two restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, Reference};

/// The wait after a first time.
const FIRST: Duration = Duration::from_secs(60 * 60);

/// So many are held at most; those whose time comes first go first.
const MOST: usize = 256;

/// One image that was taken back, and not quarantined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutOff {
    pub manifest: Digest,
    /// How often in a row.
    pub times: u32,
    /// Nobody but a person has it tried before.
    pub until: Timestamp,
    /// What kept it from the unit, in one line.
    pub cause: String,
}

/// The images that wait, one at most for each reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PutOffs(BTreeMap<Reference, PutOff>);

impl PutOffs {
    /// What keeps `manifest` from the units on `reference` at `now`.
    pub fn find(
        &self,
        reference: &Reference,
        manifest: &Digest,
        now: Timestamp,
    ) -> Option<&PutOff> {
        self.0.get(reference).filter(|held| &held.manifest == manifest && now < held.until)
    }

    /// Puts `manifest` off at `now`: for an hour, twice as long each time in a row, at most `max`.
    /// Another image begins anew.
    pub fn put_off(
        &mut self,
        reference: &Reference,
        manifest: &Digest,
        cause: String,
        now: Timestamp,
        max: Duration,
    ) {
        let before = self.0.get(reference).filter(|held| &held.manifest == manifest);
        let times = before.map_or(0, |held| held.times).saturating_add(1);
        let wait = FIRST.saturating_mul(1 << (times - 1).min(20)).min(max);
        let until = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        let held = PutOff { manifest: manifest.clone(), times, until, cause };
        self.0.insert(reference.clone(), held);
        // A unit at rest has no container that would tell whether its reference is still in use.
        if self.0.len() > MOST
            && let Some((first, _)) = self.0.iter().min_by_key(|(_, held)| held.until)
        {
            let first = first.clone();
            self.0.remove(&first);
        }
    }

    /// Forgets what was put off for `reference`.
    pub fn end(&mut self, reference: &Reference) {
        self.0.remove(reference);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_in_a_row_waits_longer_and_another_image_does_not_wait() {
        let app: Reference = "quay.io/app:1".parse().unwrap();
        let (bad, other) = (Digest::of(b"bad"), Digest::of(b"other"));
        let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap();
        let day = Duration::from_secs(24 * 3600);
        let mut all = PutOffs::default();
        let waits: Vec<i64> = (0..6)
            .map(|_| {
                all.put_off(&app, &bad, "no disk".into(), at(0), day);
                all.find(&app, &bad, at(0)).unwrap().until.as_second() / 3600
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 24]);
        assert_eq!(all.find(&app, &bad, at(24)), None, "its time has come");
        assert_eq!(all.find(&app, &other, at(0)), None);
        all.put_off(&app, &other, "no disk".into(), at(0), day);
        assert_eq!(all.find(&app, &other, at(0)).unwrap().times, 1);
        all.end(&app);
        assert_eq!(all.find(&app, &other, at(0)), None);
    }
}
