//! Images that somebody approved for units.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, UnitName};

/// So many are kept at most; the oldest go first.
const MOST: usize = 4096;

/// That a unit may have an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub unit: UnitName,
    /// The platform manifest's digest.
    pub manifest: Digest,
    pub at: Timestamp,
}

/// All that were given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Approvals(Vec<Approval>);

impl Approvals {
    pub fn has(&self, unit: &UnitName, manifest: &Digest) -> bool {
        self.0.iter().any(|given| &given.unit == unit && &given.manifest == manifest)
    }

    /// Returns whether it is new.
    pub fn add(&mut self, approval: Approval) -> bool {
        if self.has(&approval.unit, &approval.manifest) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(approval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_is_of_one_image_for_one_unit() {
        let unit = |name: &str| name.parse::<UnitName>().unwrap();
        let given = |number: usize| Approval {
            unit: unit("a.service"),
            manifest: Digest::of(&number.to_be_bytes()),
            at: Timestamp::UNIX_EPOCH,
        };
        let mut approvals = Approvals::default();
        assert!(approvals.add(given(0)) && !approvals.add(given(0)));
        assert!(approvals.has(&unit("a.service"), &given(0).manifest));
        assert!(!approvals.has(&unit("b.service"), &given(0).manifest));
        assert!(!approvals.has(&unit("a.service"), &given(1).manifest));
        assert!((1..=MOST).all(|number| approvals.add(given(number))));
        assert!(!approvals.has(&unit("a.service"), &given(0).manifest), "the oldest went");
        assert_eq!(approvals.0.len(), MOST);
    }
}
