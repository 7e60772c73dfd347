//! Units that an operator has left alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::UnitName;

/// A unit that is not updated by itself, nor when it is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub since: Timestamp,
    /// `None` is until somebody ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, in one line, as somebody said it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// One hold at most for each unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Holds(BTreeMap<UnitName, Hold>);

impl Hold {
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Holds {
    /// What holds `unit` at `now`.
    pub fn of(&self, unit: &UnitName, now: Timestamp) -> Option<&Hold> {
        self.0.get(unit).filter(|hold| !hold.is_over(now))
    }

    /// Holds `unit`, in the place of what held it before.
    pub fn set(&mut self, unit: UnitName, hold: Hold) {
        self.0.insert(unit, hold);
    }

    /// Ends the holds that `ends`, and returns those that were in force.
    pub fn end(&mut self, now: Timestamp, ends: impl Fn(&UnitName) -> bool) -> Vec<UnitName> {
        let (gone, stay) =
            std::mem::take(&mut self.0).into_iter().partition(|(unit, _)| ends(unit));
        self.0 = stay;
        let gone: BTreeMap<UnitName, Hold> = gone;
        gone.into_iter().filter(|(_, hold)| !hold.is_over(now)).map(|(unit, _)| unit).collect()
    }

    /// Forgets those that are over.
    pub fn drop_over(&mut self, now: Timestamp) {
        self.0.retain(|_, hold| !hold.is_over(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_in_force_until_its_end() {
        let unit = |name: &str| name.parse::<UnitName>().unwrap();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let hold = |until: Option<i64>| Hold {
            since: at(0),
            until: until.map(at),
            reason: "the fair".into(),
        };
        let mut holds = Holds::default();
        holds.set(unit("a.service"), hold(Some(10)));
        holds.set(unit("b.service"), hold(None));
        assert_eq!(holds.of(&unit("a.service"), at(9)), Some(&hold(Some(10))));
        assert_eq!(holds.of(&unit("a.service"), at(10)), None);
        assert_eq!(holds.of(&unit("c.service"), at(0)), None);
        holds.set(unit("c.service"), hold(Some(20)));
        assert_eq!(holds.end(at(15), |it| it.as_str() < "c"), [unit("b.service")]);
        holds.set(unit("d.service"), hold(Some(5)));
        holds.drop_over(at(5));
        assert_eq!(holds.end(at(0), |_| true), [unit("c.service")]);
    }
}
