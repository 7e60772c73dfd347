//! Deleting what nobody sees any more, so that nobody feels it.
//!
//! The files of an image that go at once keep the journal of a disk busy, and with it whoever waits for that.
//! So a deletion rests for as long as it has worked, after few files each time. The priority of its I/O
//! (`ioprio_set(2)`) would change little: the kernel's own threads write what it has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// So many entries go before a rest: a millisecond's work on a disk that is idle.
const AT_ONCE: u32 = 64;
/// A rest takes no longer: what takes so long is not the disk's being busy with us.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// Ends deletions. What is left then is out of sight, and goes with the next sweep.
#[derive(Debug, Clone, Default)]
pub struct Brake(Arc<AtomicBool>);

impl Brake {
    pub(super) fn pull(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_pulled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Pulls the brake when it is dropped: nobody waits for the work any more.
#[derive(Debug, Default)]
pub struct Awaited(Brake);

impl Awaited {
    pub fn brake(&self) -> Brake {
        self.0.clone()
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.pull();
    }
}

/// One deletion's.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    brake: &'a Brake,
    gone: u32,
    working_since: Instant,
}

impl<'a> Pace<'a> {
    pub(super) fn new(brake: &'a Brake) -> Self {
        Self { brake, gone: 0, working_since: Instant::now() }
    }

    /// Rests, where it is time to. `false`: it is not to go on.
    pub(super) fn go_on(&mut self) -> bool {
        self.gone += 1;
        if self.gone >= AT_ONCE && !self.brake.is_pulled() {
            std::thread::sleep(self.working_since.elapsed().min(LONGEST_REST));
            *self = Self::new(self.brake);
        }
        !self.brake.is_pulled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_as_long_as_it_works() {
        let brake = Brake::default();
        let mut pace = Pace::new(&brake);
        let began = Instant::now();
        let work = Duration::from_millis(20);
        std::thread::sleep(work);
        for _ in 0..AT_ONCE {
            assert!(pace.go_on());
        }
        assert!(began.elapsed() >= 2 * work, "{:?}", began.elapsed());
        assert!(pace.go_on());
        drop(Awaited(brake.clone()));
        assert!(!pace.go_on());
    }
}
