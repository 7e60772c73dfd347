//! How fast blobs may come, for a line that others use, too.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::gate::lock;

/// One for all downloads of a client: together they are no faster, on the average.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bytes a second, at least 1.
    rate: u64,
    /// When all that has come has had its time.
    paid: Mutex<Instant>,
}

impl Throttle {
    /// `rate`: bytes a second.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// To be called with each piece that has come; returns when the next may be taken. What is not
    /// taken the kernel does not acknowledge for long: so the sender slows down.
    pub(super) async fn slow_down(&self, bytes: usize) {
        tokio::time::sleep_until(self.pay(bytes, Instant::now())).await;
    }

    /// Time in which nothing came is not made up for.
    fn pay(&self, bytes: usize, now: Instant) -> Instant {
        // A piece is small, and a rate is one of a line: the quotient is exact enough, and finite.
        let time = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        let mut paid = lock(&self.paid);
        *paid = (*paid).max(now) + time;
        *paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_share_the_rate() {
        let throttle = Throttle::new(1000);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.pay(2000, start), after(2));
        assert_eq!(throttle.pay(1000, start), after(3), "a second one, at the same time");
        assert_eq!(throttle.pay(1000, after(10)), after(11), "nothing is saved up");
        assert_eq!(throttle.pay(0, after(10)), after(11));
    }
}
