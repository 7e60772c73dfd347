//! When a source that could not be checked is asked again.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Failure, FailureKind};

/// The longest wait after a first failure.
const FIRST: Duration = Duration::from_secs(60);

/// The shortest wait.
const LEAST: Duration = Duration::from_secs(10);

/// Consecutive failures of one source, or of one registry's host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// How many checks in a row failed.
    pub failures: u32,
    /// Scheduled passes do not ask before this time.
    pub until: Timestamp,
    /// The last failure.
    pub failure: Failure,
}

impl Backoff {
    /// The wait after one more failure, at random (`random` is in `0.0..1.0`), so that those who failed
    /// together do not come again together: up to a minute, doubled with each failure in a row, at
    /// most `max`. Never shorter than the registry asked for, whatever `max` is.
    pub fn after(
        previous: Option<&Backoff>,
        failure: Failure,
        now: Timestamp,
        max: Duration,
        random: f64,
    ) -> Self {
        let failures = previous.map_or(0, |previous| previous.failures).saturating_add(1);
        let doubled = FIRST.saturating_mul(1 << (failures - 1).min(20)).min(max);
        let least = LEAST.min(doubled);
        let random = random.clamp(0.0, 1.0);
        let wait = least + (doubled - least).mul_f64(random);
        let asked = match failure.kind {
            FailureKind::RateLimited(Some(asked)) => asked.saturating_add(FIRST.mul_f64(random)),
            _ => Duration::ZERO,
        };
        let until = now.saturating_add(wait.max(asked)).unwrap_or(Timestamp::MAX);
        Self { failures, until, failure }
    }

    /// Whether the source is left alone at `now`. A person who asks is only held back where the
    /// registry itself said so.
    pub fn holds(&self, now: Timestamp, asked_by_person: bool) -> bool {
        let limited = matches!(self.failure.kind, FailureKind::RateLimited(_));
        now < self.until && (limited || !asked_by_person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "no")
    }

    fn waits(kind: &FailureKind, max: u64, random: f64) -> Vec<i64> {
        let mut last = None;
        let mut waits = Vec::new();
        for _ in 0..4 {
            let (now, max) = (Timestamp::UNIX_EPOCH, Duration::from_secs(max));
            let next = Backoff::after(last.as_ref(), failure(kind.clone()), now, max, random);
            waits.push(next.until.as_second());
            last = Some(next);
        }
        waits
    }

    #[test]
    fn the_longest_wait_doubles_up_to_the_maximum() {
        let down = FailureKind::Unreachable;
        assert_eq!(waits(&down, 200, 1.0), [60, 120, 200, 200]);
        assert_eq!(waits(&down, 200, 0.5), [35, 65, 105, 105]);
        assert_eq!(waits(&down, 200, 0.0), [10, 10, 10, 10]);
        assert_eq!(waits(&down, 5, 0.0), [5, 5, 5, 5]);
    }

    #[test]
    fn what_the_registry_asks_for_is_the_least() {
        let asked = FailureKind::RateLimited(Some(Duration::from_secs(100)));
        assert_eq!(waits(&asked, 3600, 0.0), [100, 100, 100, 100]);
        assert_eq!(waits(&asked, 3600, 1.0), [160, 160, 240, 480]);
        assert_eq!(waits(&asked, 50, 0.5), [130, 130, 130, 130]);
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let previous = Backoff {
            failures: u32::MAX,
            until: Timestamp::MAX,
            failure: failure(FailureKind::NotFound),
        };
        let max = Duration::from_secs(u64::MAX);
        for kind in [FailureKind::NotFound, FailureKind::RateLimited(Some(Duration::MAX))] {
            let next =
                Backoff::after(Some(&previous), failure(kind), Timestamp::MAX, max, f64::INFINITY);
            assert_eq!(next.failures, u32::MAX);
        }
    }

    #[test]
    fn a_person_waits_only_for_the_registry() {
        let now = Timestamp::UNIX_EPOCH;
        let max = Duration::from_secs(86400);
        let down = Backoff::after(None, failure(FailureKind::Unreachable), now, max, 0.5);
        assert!(down.holds(now, false) && !down.holds(now, true));
        let asked = FailureKind::RateLimited(Some(Duration::from_secs(600)));
        let limited = Backoff::after(None, failure(asked), now, max, 0.0);
        assert_eq!(limited.until.as_second(), 600);
        assert!(limited.holds(now, true) && !limited.holds(limited.until, true));
    }
}
