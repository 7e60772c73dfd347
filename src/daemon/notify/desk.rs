//! Where the service tells from, beside its passes.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::Deliverer;

/// A service without a schedule of its own stays for so many tries in a row: some ten minutes.
const TRIES: u32 = 7;

/// How often it is looked for what other processes left: a pass without the service tells what it has time
/// for.
const LOOK: Duration = Duration::from_secs(5 * 60);

/// One for the whole process, whatever the configuration becomes.
#[derive(Debug, Clone, Default)]
pub struct Desk(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    deliverer: RefCell<Option<Rc<Deliverer>>>,
    woken: tokio::sync::Notify,
    /// Whether somebody woke us since we looked last.
    called: Cell<bool>,
    /// Whether something is being told, or left to be.
    waiting: Cell<bool>,
}

impl Desk {
    /// From now on as a new configuration has it.
    pub fn change(&self, deliverer: Option<Deliverer>) {
        self.0.deliverer.replace(deliverer.map(Rc::new));
        self.wake();
    }

    /// There may be something to tell.
    pub fn wake(&self) {
        self.0.called.set(true);
        self.0.woken.notify_one();
    }

    /// Whether it is worth staying for what is still to be told.
    pub fn is_busy(&self) -> bool {
        let failures = || self.0.deliverer.borrow().as_ref().map_or(0, |found| found.failures());
        (self.0.called.get() || self.0.waiting.get()) && failures() < TRIES
    }

    /// Tells whatever comes, for ever.
    pub async fn run(&self) -> Infallible {
        loop {
            let deliverer = self.0.deliverer.borrow().clone();
            // Before it is looked: who calls meanwhile is heard.
            self.0.called.set(false);
            self.0.waiting.set(true);
            let next = match &deliverer {
                Some(deliverer) => deliverer.deliver().await,
                None => None,
            };
            self.0.waiting.set(next.is_some());
            tokio::select! {
                () = self.0.woken.notified() => {}
                () = tokio::time::sleep_until(next_look(next, Instant::now())) => {}
            }
        }
    }
}

/// A try that is due later does not keep us from looking.
fn next_look(next_try: Option<Instant>, now: Instant) -> Instant {
    let look = now + LOOK;
    next_try.map_or(look, |due| due.min(look))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_every_few_minutes_or_when_a_try_is_due() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(next_look(None, now), after(300));
        assert_eq!(next_look(Some(after(3600)), now), after(300));
        assert_eq!(next_look(Some(after(5)), now), after(5));
    }
}
