//! How a pull advances, for those who look on.

use std::cell::Cell;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::model::{Digest, Failure};

/// How often a [`Gauge`] tells: a person reads no faster, and each time wakes up who listens.
const OFTEN: Duration = Duration::from_secs(1);

/// Told how a pull advances, on the thread that polls it. Layers are named by their blob's digest.
pub trait Progress {
    /// So many compressed bytes of layers have to come.
    fn planned(&self, bytes: u64) {
        let _ = bytes;
    }
    /// A layer of `size` compressed bytes is being fetched.
    fn started(&self, layer: &Digest, size: u64) {
        let _ = (layer, size);
    }
    /// `bytes` more of it have come.
    fn advanced(&self, layer: &Digest, bytes: u64) {
        let _ = (layer, bytes);
    }
    /// Its download broke off, and goes on from there after this time.
    fn broke_off(&self, layer: &Digest, failure: &Failure, wait: Duration) {
        tracing::debug!("{}", broken_off(layer, failure, wait));
    }
    /// It is unpacked and verified.
    fn done(&self, layer: &Digest) {
        let _ = layer;
    }
}

/// Nobody watches.
impl Progress for () {}

/// What is to be said of a download that broke off.
pub fn broken_off(layer: &Digest, failure: &Failure, wait: Duration) -> String {
    let (layer, wait) = (layer.short(), humantime::format_duration(wait));
    format!("layer {layer} has broken off, going on in {wait}: {failure}")
}

/// How far a pull has come: compressed bytes of layers, those that were there not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Far {
    pub received: u64,
    pub total: u64,
}

/// Adds up how far a pull has come, and tells it now and then, and when all has come.
pub struct Gauge<F> {
    tell: F,
    far: Cell<Far>,
    told: Cell<Option<Instant>>,
}

impl<F: Fn(Far)> Gauge<F> {
    pub fn new(tell: F) -> Self {
        Self { tell, far: Cell::default(), told: Cell::default() }
    }

    /// So many bytes have to come.
    pub fn planned(&self, total: u64) {
        self.is(Far { received: 0, total });
    }

    /// So many more have come.
    pub fn advanced(&self, bytes: u64) {
        let Far { received, total } = self.far.get();
        self.is(Far { received: received.saturating_add(bytes), total });
    }

    /// Tells what another process's gauge told.
    pub fn pass_on(&self, far: Far) {
        (self.tell)(far);
    }

    fn is(&self, far: Far) {
        self.far.set(far);
        let is_new = self.told.get().is_none_or(|told| told.elapsed() >= OFTEN);
        if is_new || far.received == far.total {
            self.told.set(Some(Instant::now()));
            (self.tell)(far);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_now_and_then_and_at_the_end() {
        let seen = RefCell::new(vec![]);
        let gauge = Gauge::new(|far: Far| seen.borrow_mut().push((far.received, far.total)));
        gauge.planned(1000);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(25)).await;
            gauge.advanced(10);
        }
        assert_eq!(*seen.borrow(), [(0, 1000), (400, 1000), (800, 1000), (1000, 1000)]);
    }
}
