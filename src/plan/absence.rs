//! Units whose images are kept, and which are not there any more: how long ago that was seen first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::UnitName;

/// So long the images of a unit stay when its file is gone. A generator that fails for a while, a file that is
/// moved, a service that is put away over the holidays: all of that comes back with its ways back.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The units that are absent, and since when: what the first pass saw that did not find them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Absences(BTreeMap<UnitName, Timestamp>);

impl Absences {
    /// Takes down which units are absent at `now`; whoever came back is begun with anew.
    pub fn note(&mut self, absent: &BTreeSet<UnitName>, now: Timestamp) {
        self.0.retain(|unit, _| absent.contains(unit));
        for unit in absent {
            let since = self.0.entry(unit.clone()).or_insert(now);
            // A clock that went ahead for a while is not waited for.
            *since = (*since).min(now);
        }
    }

    /// Those that are absent for good.
    pub fn for_good(&self, now: Timestamp) -> BTreeSet<UnitName> {
        let is_over =
            |since: &Timestamp| since.saturating_add(PATIENCE).is_ok_and(|until| until <= now);
        self.0.iter().filter(|(_, since)| is_over(since)).map(|(unit, _)| unit.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: i64) -> Timestamp {
        Timestamp::from_second(number * 24 * 60 * 60).unwrap()
    }

    fn units(names: &[&str]) -> BTreeSet<UnitName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_unit_is_gone_for_good_after_a_while_without_a_sight_of_it() {
        let (mut absences, both) = (Absences::default(), units(&["a.service", "b.service"]));
        absences.note(&both, day(0));
        assert_eq!(absences.for_good(day(29)), units(&[]));
        absences.note(&units(&["a.service"]), day(29));
        absences.note(&both, day(30));
        assert_eq!(absences.for_good(day(30)), units(&["a.service"]), "the other one came back");
        assert_eq!(absences.for_good(day(60)), both);
        absences.note(&units(&[]), day(61));
        assert_eq!(absences, Absences::default());
    }

    #[test]
    fn a_clock_that_was_wrong_is_not_waited_for() {
        let (mut absences, gone) = (Absences::default(), units(&["a.service"]));
        absences.note(&gone, day(10_000));
        absences.note(&gone, day(0));
        assert_eq!(absences.for_good(day(30)), gone);
    }
}
