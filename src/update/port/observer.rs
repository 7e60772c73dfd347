//! Who hears of a pass while it lasts.

use std::rc::Rc;

use crate::model::{Digest, Reference};
use crate::update::Event;

/// Hears of everything that happens, as it happens: the journal, the bus, a terminal.
pub trait Observer {
    fn event(&self, event: &Event);

    /// A pull is under way; told now and then.
    fn pulling(&self, pulling: &Pulling) {
        let _ = pulling;
    }
}

impl<O: Observer + ?Sized> Observer for Rc<O> {
    fn event(&self, event: &Event) {
        (**self).event(event);
    }

    fn pulling(&self, pulling: &Pulling) {
        (**self).pulling(pulling);
    }
}

/// How far the pull of an image has come. It is told while it lasts, and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulling {
    pub reference: Reference,
    /// The platform manifest.
    pub new: Digest,
    /// Compressed bytes of the layers that were not there.
    pub received: u64,
    pub total: u64,
}
