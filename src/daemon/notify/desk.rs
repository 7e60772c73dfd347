//! Where the service tells from, beside its passes.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use tokio::time::Instant;

use super::Deliverer;

/// A service without a schedule of its own stays for so many tries in a row: some ten minutes.
const TRIES: u32 = 7;

/// One for the whole process, whatever the configuration becomes.
#[derive(Debug, Clone, Default)]
pub struct Desk(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    deliverer: RefCell<Option<Rc<Deliverer>>>,
    woken: tokio::sync::Notify,
    /// Whether something is still to be told.
    waiting: Cell<bool>,
}

impl Desk {
    /// From now on as a new configuration has it.
    pub fn change(&self, deliverer: Option<Deliverer>) {
        self.0.deliverer.replace(deliverer.map(Rc::new));
        self.wake();
    }

    /// There is something to tell.
    pub(super) fn wake(&self) {
        self.0.waiting.set(true);
        self.0.woken.notify_one();
    }

    /// Whether it is worth staying for what is still to be told.
    pub fn is_busy(&self) -> bool {
        let failures = || self.0.deliverer.borrow().as_ref().map_or(0, |found| found.failures());
        self.0.waiting.get() && failures() < TRIES
    }

    /// Tells whatever comes, for ever.
    pub async fn run(&self) -> Infallible {
        loop {
            let deliverer = self.0.deliverer.borrow().clone();
            let next = match &deliverer {
                Some(deliverer) => deliverer.deliver().await,
                None => None,
            };
            self.0.waiting.set(next.is_some());
            tokio::select! {
                () = self.0.woken.notified() => {}
                () = until(next) => {}
            }
        }
    }
}

async fn until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}
