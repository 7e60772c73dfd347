//! When a source that could not be checked is asked again.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Failure, FailureKind};

/// The shortest wait after a first failure.
const FIRST: Duration = Duration::from_secs(60);

/// Consecutive failures of one source.
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
    /// The wait after one more failure: a minute, doubled with each failure in a row, at most
    /// `max`; never shorter than the registry asked for.
    pub fn after(
        previous: Option<&Backoff>,
        failure: Failure,
        now: Timestamp,
        max: Duration,
    ) -> Self {
        let failures = previous.map_or(0, |previous| previous.failures).saturating_add(1);
        let doubled = FIRST.saturating_mul(1 << (failures - 1).min(20)).min(max);
        let asked = match failure.kind {
            FailureKind::RateLimited(Some(asked)) => asked.min(max),
            _ => Duration::ZERO,
        };
        let until = now.saturating_add(doubled.max(asked)).unwrap_or(Timestamp::MAX);
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

    #[test]
    fn doubles_up_to_the_maximum() {
        let now = Timestamp::UNIX_EPOCH;
        let max = Duration::from_secs(200);
        let mut last = None;
        let mut waits = Vec::new();
        for _ in 0..4 {
            let next = Backoff::after(last.as_ref(), failure(FailureKind::Unreachable), now, max);
            waits.push(next.until.as_second());
            last = Some(next);
        }
        assert_eq!(waits, [60, 120, 200, 200]);
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let previous = Backoff {
            failures: u32::MAX,
            until: Timestamp::MAX,
            failure: failure(FailureKind::NotFound),
        };
        let next = Backoff::after(
            Some(&previous),
            failure(FailureKind::NotFound),
            Timestamp::MAX,
            Duration::from_secs(u64::MAX),
        );
        assert_eq!(next.failures, u32::MAX);
    }

    #[test]
    fn a_person_waits_only_for_the_registry() {
        let now = Timestamp::UNIX_EPOCH;
        let max = Duration::from_secs(86400);
        let down = Backoff::after(None, failure(FailureKind::Unreachable), now, max);
        assert!(down.holds(now, false) && !down.holds(now, true));
        let asked = FailureKind::RateLimited(Some(Duration::from_secs(600)));
        let limited = Backoff::after(None, failure(asked), now, max);
        assert_eq!(limited.until.as_second(), 600);
        assert!(limited.holds(now, true) && !limited.holds(limited.until, true));
    }
}
