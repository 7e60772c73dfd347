//! Automatic restarts since we asked for one.
//!
//! systemd counts them on where a unit is asked to restart that it was about to restart itself: what it
//! did just before says nothing of the run that we asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// What `NRestarts` was when we asked, of each unit.
#[derive(Debug, Default)]
pub(super) struct Restarts(RefCell<BTreeMap<String, u32>>);

impl Restarts {
    /// We asked when it was `count`.
    pub(super) fn begin(&self, unit: &str, count: u32) {
        self.0.borrow_mut().insert(unit.to_owned(), count);
    }

    /// From here on it counts from zero.
    pub(super) fn forget(&self, unit: &str) {
        self.0.borrow_mut().remove(unit);
    }

    /// How many of `count` came after we asked. It may have been set back by others meanwhile.
    pub(super) fn since(&self, unit: &str, count: u32) -> u32 {
        let before = self.0.borrow().get(unit).copied().unwrap_or(0);
        count.checked_sub(before).unwrap_or_else(|| {
            self.forget(unit);
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_after_the_request_counts() {
        let restarts = Restarts::default();
        assert_eq!(restarts.since("app.service", 2), 2);
        restarts.begin("app.service", 2);
        assert_eq!(restarts.since("app.service", 2), 0);
        assert_eq!(restarts.since("app.service", 3), 1);
        assert_eq!(restarts.since("other.service", 3), 3);
    }

    #[test]
    fn a_counter_that_was_set_back_counts_from_zero() {
        let restarts = Restarts::default();
        restarts.begin("app.service", 2);
        assert_eq!(restarts.since("app.service", 0), 0);
        assert_eq!(restarts.since("app.service", 2), 2);
        restarts.begin("app.service", 1);
        restarts.forget("app.service");
        assert_eq!(restarts.since("app.service", 1), 1);
    }
}
