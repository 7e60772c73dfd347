//! When the daemon wakes: pure computations on times.
//!
//! What must not live here: clocks, sleeping, randomness; all three are arguments.

use std::time::Duration;

use jiff::Timestamp;

/// The times between passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// From the start of one pass to the earliest start of the next.
    pub every: Duration,
    /// At most so much later, so that a fleet does not ask its registry in step.
    pub jitter: Duration,
}

/// What the daemon does next when nobody asks it for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Make a pass at this time.
    PassAt(Timestamp),
    /// Leave at this time, unless something happens before.
    ExitAt(Timestamp),
}

impl Wake {
    /// The time of whatever comes next.
    pub fn time(self) -> Timestamp {
        match self {
            Self::PassAt(time) | Self::ExitAt(time) => time,
        }
    }
}

/// How long a daemon without a schedule of its own waits for another call before it leaves.
pub const IDLE: Duration = Duration::from_secs(30);

/// When the daemon wakes next, and when registries were last asked.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// `None` where a timer unit decides.
    interval: Option<Interval>,
    wake: Wake,
    last_check: Option<Timestamp>,
}

impl Calendar {
    /// At the start of the daemon.
    pub fn new(interval: Option<Interval>, now: Timestamp, random: f64) -> Self {
        let wake = match interval {
            Some(interval) => Wake::PassAt(interval.first(now, random)),
            None => Wake::ExitAt(later(now, IDLE)),
        };
        Self { interval, wake, last_check: None }
    }

    pub fn wake(&self) -> Wake {
        self.wake
    }

    /// When registries were last asked.
    pub fn last_check(&self) -> Option<Timestamp> {
        self.last_check
    }

    /// When they are asked next; `None` where a timer unit decides.
    pub fn next_check(&self) -> Option<Timestamp> {
        match self.wake {
            Wake::PassAt(time) => Some(time),
            Wake::ExitAt(_) => None,
        }
    }

    /// A scheduled pass begins.
    pub fn pass_begins(&mut self, now: Timestamp, random: f64) {
        if let Some(interval) = self.interval {
            self.wake = Wake::PassAt(interval.next(now, now, random));
        }
    }

    /// Something is to be done at `time`, which a pass does by the way.
    pub fn bring_forward(&mut self, time: Timestamp) {
        if let Wake::PassAt(next) = self.wake {
            self.wake = Wake::PassAt(next.min(time));
        }
    }

    /// Registries were asked.
    pub fn checked(&mut self, now: Timestamp) {
        self.last_check = Some(now);
    }

    /// Something was done: who leaves when idle leaves later.
    pub fn put_off_leaving(&mut self, now: Timestamp) {
        if let Wake::ExitAt(_) = self.wake {
            self.wake = Wake::ExitAt(later(now, IDLE));
        }
    }

    /// A new configuration is in force. One that says the same moves nothing.
    pub fn change(&mut self, interval: Option<Interval>, now: Timestamp, random: f64) {
        if interval == self.interval {
            return;
        }
        self.interval = interval;
        self.wake = match interval {
            Some(interval) => {
                Wake::PassAt(interval.next(self.last_check.unwrap_or(now), now, random))
            }
            None => Wake::ExitAt(later(now, IDLE)),
        };
    }
}

impl Interval {
    /// The first pass after a start: at once, but for the jitter.
    ///
    /// `random` is in `0.0..1.0`; other values are clamped.
    pub fn first(&self, now: Timestamp, random: f64) -> Timestamp {
        later(now, self.spread(random))
    }

    /// The pass after the one that started at `previous`.
    ///
    /// Never before `now`, and never more than `every + jitter` after it: a clock that was set
    /// back does not silence the daemon.
    pub fn next(&self, previous: Timestamp, now: Timestamp, random: f64) -> Timestamp {
        let wait = self.every.saturating_add(self.spread(random));
        later(previous, wait).clamp(now, later(now, wait))
    }

    fn spread(&self, random: f64) -> Duration {
        let part = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.0 };
        Duration::try_from_secs_f64(self.jitter.as_secs_f64() * part).unwrap_or(self.jitter)
    }
}

fn later(time: Timestamp, wait: Duration) -> Timestamp {
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// How long to sleep from `now` until `wake`; nothing where that time has come.
pub fn sleep(now: Timestamp, wake: Timestamp) -> Duration {
    Duration::try_from(wake.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn interval(every: u64, jitter: u64) -> Interval {
        Interval { every: Duration::from_secs(every), jitter: Duration::from_secs(jitter) }
    }

    #[test]
    fn a_pass_follows_the_start_of_the_last_one() {
        let hourly = interval(3600, 600);
        assert_eq!(hourly.next(at(0), at(30), 0.0), at(3600));
        assert_eq!(hourly.next(at(0), at(30), 0.5), at(3900));
        assert_eq!(hourly.first(at(0), 0.5), at(300));
    }

    #[test]
    fn what_is_to_be_done_sooner_brings_the_next_pass_forward() {
        let mut calendar = Calendar::new(Some(interval(60, 0)), at(0), 0.0);
        calendar.pass_begins(at(0), 0.0);
        calendar.bring_forward(at(90));
        assert_eq!(calendar.wake(), Wake::PassAt(at(60)));
        calendar.bring_forward(at(30));
        assert_eq!(calendar.wake(), Wake::PassAt(at(30)));
        let mut by_timer = Calendar::new(None, at(0), 0.0);
        by_timer.bring_forward(at(1));
        assert!(matches!(by_timer.wake(), Wake::ExitAt(_)), "a timer decides");
    }

    #[test]
    fn a_pass_longer_than_the_interval_is_followed_at_once() {
        assert_eq!(interval(60, 0).next(at(0), at(500), 0.0), at(500));
    }

    #[test]
    fn a_clock_set_back_does_not_silence_it() {
        assert_eq!(interval(60, 0).next(at(1_000_000), at(0), 0.0), at(60));
    }

    #[test]
    fn a_new_schedule_counts_from_the_last_check() {
        let mut calendar = Calendar::new(Some(interval(3600, 0)), at(0), 0.0);
        calendar.checked(at(0));
        calendar.pass_begins(at(0), 0.0);
        calendar.change(Some(interval(3600, 0)), at(100), 0.0);
        assert_eq!(calendar.wake(), Wake::PassAt(at(3600)), "the same schedule");
        calendar.change(Some(interval(600, 0)), at(100), 0.0);
        assert_eq!(calendar.next_check(), Some(at(600)));
        calendar.change(None, at(100), 0.0);
        assert_eq!(calendar.wake(), Wake::ExitAt(at(130)));
        calendar.put_off_leaving(at(200));
        assert_eq!((calendar.wake(), calendar.next_check()), (Wake::ExitAt(at(230)), None));
    }

    #[test]
    fn sleeps_nothing_for_the_past() {
        assert_eq!(sleep(at(10), at(5)), Duration::ZERO);
        assert_eq!(sleep(at(10), at(15)), Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn stays_within_bounds(
            every in 0u64..10_000_000,
            jitter in 0u64..10_000_000,
            previous in -1_000_000_000i64..4_000_000_000,
            now in -1_000_000_000i64..4_000_000_000,
            random in any::<f64>(),
        ) {
            let interval = interval(every, jitter);
            let latest = later(at(now), interval.every + interval.jitter);
            let next = interval.next(at(previous), at(now), random);
            prop_assert!(next >= at(now) && next <= latest);
            if previous <= now {
                prop_assert!(next >= later(at(previous), interval.every));
            }
            let first = interval.first(at(now), random);
            prop_assert!(first >= at(now) && first <= later(at(now), interval.jitter));
        }

        #[test]
        fn extreme_values_do_not_panic(every in any::<u64>(), random in any::<f64>()) {
            let interval = interval(every, every);
            interval.next(Timestamp::MAX, Timestamp::MAX, random);
            interval.next(Timestamp::MIN, Timestamp::MIN, random);
            interval.first(Timestamp::MAX, random);
            Calendar::new(None, Timestamp::MAX, random);
        }
    }
}
