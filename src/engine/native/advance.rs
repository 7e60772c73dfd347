//! How far a pull has come, told to whoever looks on.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Digest, Failure, ImageIdentity, ImageSource};
use crate::store::pull::{Far, Progress};
use crate::update::port::{Observer, Pulling};

/// How often it is told: a person reads no faster, and each time wakes up who listens.
const OFTEN: Duration = Duration::from_secs(1);

/// Who looks on at the pulls of an engine; nobody by default.
#[derive(Clone, Default)]
pub(super) struct Onlooker(Option<Rc<dyn Observer>>);

impl Onlooker {
    pub(super) fn new(observer: impl Observer + 'static) -> Self {
        Self(Some(Rc::new(observer)))
    }

    /// Looks on at one pull.
    pub(super) fn at(&self, source: &ImageSource, image: &ImageIdentity) -> Advance {
        let pulling = Pulling {
            reference: source.reference.clone(),
            new: image.manifest.clone(),
            received: 0,
            total: 0,
        };
        Advance { onlooker: self.clone(), pulling, far: Cell::default(), told: Cell::default() }
    }
}

impl fmt::Debug for Onlooker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Onlooker").field(&self.0.is_some()).finish()
    }
}

/// One pull that is looked at.
pub(super) struct Advance {
    onlooker: Onlooker,
    pulling: Pulling,
    far: Cell<Far>,
    told: Cell<Option<Instant>>,
}

impl Advance {
    /// It has come so far, as another process says.
    pub(super) fn is(&self, far: Far) {
        self.far.set(far);
        let Some(onlooker) = &self.onlooker.0 else { return };
        let now = Instant::now();
        let is_new = self.told.get().is_none_or(|told| now.duration_since(told) >= OFTEN);
        if is_new || far.received == far.total {
            self.told.set(Some(now));
            let Far { received, total } = far;
            onlooker.pulling(&Pulling { received, total, ..self.pulling.clone() });
        }
    }
}

impl Progress for Advance {
    fn planned(&self, bytes: u64) {
        self.is(Far { received: 0, total: bytes });
    }

    fn advanced(&self, _layer: &Digest, bytes: u64) {
        self.is(self.far.get().and(bytes));
    }

    fn broke_off(&self, layer: &Digest, failure: &Failure, wait: Duration) {
        let (image, wait) = (&self.pulling.reference, humantime::format_duration(wait));
        tracing::info!(
            "{image}: layer {} has broken off, going on in {wait}: {failure}",
            layer.short()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::model::Platform;
    use crate::update::Event;

    #[derive(Clone, Default)]
    struct Seen(Rc<RefCell<Vec<(u64, u64)>>>);

    impl Observer for Seen {
        fn event(&self, _: &Event) {}

        fn pulling(&self, pulling: &Pulling) {
            self.0.borrow_mut().push((pulling.received, pulling.total));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_now_and_then_and_at_the_end() {
        let seen = Seen::default();
        let digest = Digest::of(b"x");
        let source =
            ImageSource { reference: "registry.example/app:1".parse().unwrap(), authfile: None };
        let image = ImageIdentity {
            target: digest.clone(),
            manifest: digest.clone(),
            platform: Platform::host(),
        };
        let advance = Onlooker::new(seen.clone()).at(&source, &image);
        advance.planned(1000);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(25)).await;
            advance.advanced(&digest, 10);
        }
        assert_eq!(*seen.0.borrow(), [(0, 1000), (400, 1000), (800, 1000), (1000, 1000)]);
    }
}
