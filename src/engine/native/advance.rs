//! How far a pull has come, told to whoever looks on.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::model::{Digest, Failure, ImageIdentity, ImageSource, Reference};
use crate::store::pull::{Far, Gauge, Progress, broken_off};
use crate::update::port::{Observer, Pulling};

/// Who looks on at the pulls of an engine; nobody by default.
#[derive(Clone, Default)]
pub(super) struct Onlooker(Option<Rc<dyn Observer>>);

impl Onlooker {
    pub(super) fn new(observer: impl Observer + 'static) -> Self {
        Self(Some(Rc::new(observer)))
    }

    /// Looks on at one pull.
    pub(super) fn at(&self, source: &ImageSource, image: &ImageIdentity) -> Advance {
        let (reference, new) = (source.reference.clone(), image.manifest.clone());
        let onlooker = self.0.clone();
        let pulling = Pulling { reference: reference.clone(), new, received: 0, total: 0 };
        let tell = move |Far { received, total }| {
            if let Some(onlooker) = &onlooker {
                onlooker.pulling(&Pulling { received, total, ..pulling.clone() });
            }
        };
        Advance { reference, gauge: Gauge::new(Box::new(tell)) }
    }
}

impl fmt::Debug for Onlooker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Onlooker").field(&self.0.is_some()).finish()
    }
}

/// One pull that is looked at.
pub(super) struct Advance {
    reference: Reference,
    pub(super) gauge: Gauge<Box<dyn Fn(Far)>>,
}

impl Progress for Advance {
    fn planned(&self, bytes: u64) {
        self.gauge.planned(bytes);
    }

    fn advanced(&self, _layer: &Digest, bytes: u64) {
        self.gauge.advanced(bytes);
    }

    fn broke_off(&self, layer: &Digest, failure: &Failure, wait: Duration) {
        tracing::info!("{}: {}", self.reference, broken_off(layer, failure, wait));
    }
}
