//! How long a download that breaks off is gone on with.

use std::time::Duration;

use crate::model::{Failure, FailureKind};

/// So much more has to come for a download to have got any further: one that is sent byte by byte
/// would go on for ever otherwise.
const FURTHER: u64 = 64 << 10;
/// How long it may take until it gets further: a registry that is restarted, a router that is, a train in
/// a tunnel.
const OUTAGE: Duration = Duration::from_secs(120);
/// How many answers may bring nothing: those that break off at the same place each time will do so
/// again.
const FRUITLESS: u32 = 2;
/// Before the first new try; twice as long each time, up to the second.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// One download's.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// What had come when it broke off for the first time after it had got further.
    from: u64,
    /// Since when it has not.
    since: Option<Duration>,
    tries: u32,
    fruitless: u32,
}

impl Patience {
    /// After which time the download, of which `received` bytes have come, is to be asked for again;
    /// `None`: it is given up. `answered`: the registry had begun to send. `now` is of any clock
    /// that only goes forward.
    pub(super) fn after(
        &mut self,
        failure: &Failure,
        answered: bool,
        received: u64,
        now: Duration,
    ) -> Option<Duration> {
        let asked = match failure.kind {
            FailureKind::Unreachable | FailureKind::ServerError => Duration::ZERO,
            FailureKind::RateLimited(asked) => asked.unwrap_or(FIRST_WAIT),
            _ => return None,
        };
        if received >= self.from.saturating_add(FURTHER) {
            *self = Self { from: received, ..Self::default() };
        }
        self.fruitless += u32::from(answered);
        let since = *self.since.get_or_insert(now);
        let wait = FIRST_WAIT.saturating_mul(1 << self.tries.min(5)).min(LONGEST_WAIT).max(asked);
        let over = now.saturating_add(wait).saturating_sub(since) > OUTAGE;
        if over || self.fruitless > FRUITLESS {
            return None;
        }
        self.tries += 1;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "broken off")
    }

    /// The waits, in seconds, until it is given up.
    fn waits(kind: FailureKind, answered: bool, steps: impl Fn(u64) -> u64) -> Vec<u64> {
        let (mut patience, mut now, mut waits) = (Patience::default(), Duration::ZERO, vec![]);
        while let Some(wait) =
            patience.after(&failure(kind.clone()), answered, steps(waits.len() as u64), now)
        {
            now += wait;
            waits.push(wait.as_secs());
            if waits.len() == 100 {
                break;
            }
        }
        waits
    }

    #[test]
    fn an_outage_is_waited_for_and_no_longer() {
        let unreachable = waits(FailureKind::Unreachable, false, |_| 1 << 20);
        assert_eq!(unreachable, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(waits(FailureKind::ServerError, false, |_| 1 << 20), unreachable);
    }

    #[test]
    fn one_that_gets_further_each_time_goes_on() {
        let waits = waits(FailureKind::Unreachable, true, |n| n * FURTHER);
        assert_eq!((waits.len(), waits.iter().max()), (100, Some(&1)));
    }

    #[test]
    fn what_breaks_off_at_the_same_place_is_given_up_soon() {
        assert_eq!(waits(FailureKind::Unreachable, true, |_| 1 << 20), [1, 2]);
        let drop_by_drop = waits(FailureKind::Unreachable, true, |n| n);
        assert_eq!(drop_by_drop, [1, 2], "a byte a time is no progress");
    }

    #[test]
    fn a_registry_is_left_alone_for_as_long_as_it_asks() {
        let limited = |seconds| FailureKind::RateLimited(Some(Duration::from_secs(seconds)));
        assert_eq!(waits(limited(50), false, |_| 1 << 20), [50, 50]);
        assert!(waits(limited(3600), false, |_| 1 << 20).is_empty(), "that is the next pass's");
    }

    #[test]
    fn what_no_time_mends_is_not_tried_again() {
        for kind in [FailureKind::NotFound, FailureKind::Unauthorized, FailureKind::InvalidContent]
        {
            assert!(waits(kind, true, |n| n << 20).is_empty());
        }
    }
}
