//! Tells what was written down, until it is taken or too old.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Way, failing, given_up};
use crate::ledger::spool::{Notice, Spool};
use crate::model::failure::chain;

/// How soon it is tried again at first, and at most how late.
const FIRST: Duration = Duration::from_secs(5);
const LAST: Duration = Duration::from_secs(60 * 60);

/// What is older than this, in seconds, nobody waits for any more.
const TOO_OLD: i64 = 24 * 60 * 60;

/// Beyond the timeout of what is told last, so that it is that which is said.
const GRACE: Duration = Duration::from_secs(1);

/// Tells on all ways, each at its own pace.
#[derive(Debug)]
pub struct Deliverer {
    spool: Spool,
    /// How long each of them may take.
    timeout: Duration,
    ways: Vec<(Way, Pace)>,
}

/// How a way goes.
#[derive(Debug, Default)]
struct Pace {
    /// In a row.
    failures: Cell<u32>,
    /// When it is tried next.
    next: Cell<Option<Instant>>,
}

impl Deliverer {
    pub(super) fn new(spool: Spool, timeout: Duration, ways: Vec<Way>) -> Self {
        let ways = ways.into_iter().map(|way| (way, Pace::default())).collect();
        Self { spool, timeout, ways }
    }

    /// Tells what is due on all ways at once. When the next try is due; `None` where nothing is left.
    pub async fn deliver(&self) -> Option<Instant> {
        join_all(self.ways.iter().map(|(way, pace)| self.go(way, pace))).await;
        self.ways.iter().filter_map(|(_, pace)| pace.next.get()).min()
    }

    /// Tells what there is time for before somebody goes on who waits for it: as much as one of them may
    /// take.
    pub async fn deliver_in_time(&self) {
        let time = self.timeout.saturating_add(GRACE);
        if tokio::time::timeout(time, self.deliver()).await.is_err() {
            let time = self.timeout.as_secs();
            tracing::warn!(target: "updaterd", "notify: not all is told after {time} s; the service or the next pass goes on");
        }
    }

    /// How often in a row the way that goes worst has failed.
    pub(super) fn failures(&self) -> u32 {
        self.ways.iter().map(|(_, pace)| pace.failures.get()).max().unwrap_or_default()
    }

    async fn go(&self, way: &Way, pace: &Pace) {
        if pace.next.get().is_some_and(|next| Instant::now() < next) {
            return;
        }
        match self.tell_all(way).await {
            Ok(Told::All) => pace.succeeded(),
            Ok(Told::ByAnother) => pace.wait(FIRST),
            Err(why) => {
                // Later failures of the same kind are no news.
                if pace.failures.get() == 0 {
                    failing(way.name(), &why);
                }
                pace.failed();
            }
        }
    }

    /// Oldest first; one that is not taken does not keep the others back. The first error.
    async fn tell_all(&self, way: &Way) -> Result<Told, String> {
        let read = || self.spool.waiting(way.name()).map_err(|error| chain(&error));
        if read()?.is_empty() {
            return Ok(Told::All);
        }
        let turn = self.spool.turn(way.name()).map_err(|error| chain(&error))?;
        let Some(_turn) = turn else { return Ok(Told::ByAnother) };
        let mut result = Ok(Told::All);
        // What another told until now is gone.
        let waiting = read()?;
        for notice in waiting {
            let told = self.tell(way, &notice).await;
            let unheard = told.as_ref().is_err_and(|refusal| !refusal.heard);
            result = result.and_then(|all| told.map(|()| all).map_err(|refusal| refusal.why));
            if unheard {
                break;
            }
        }
        result
    }

    async fn tell(&self, way: &Way, notice: &Notice) -> Result<(), Refusal> {
        let age = Timestamp::now().as_second() - notice.at.as_second();
        match way.tell(notice).await {
            Err(refusal) if age < TOO_OLD => return Err(refusal),
            Err(refusal) => given_up(way.name(), 1, &refusal.why),
            Ok(()) => {}
        }
        let removed = self.spool.remove(way.name(), &notice.id);
        removed.map_err(|error| Refusal { why: chain(&error), heard: true })
    }
}

/// What became of all that waited on a way.
enum Told {
    All,
    /// Another process is at it, and may leave some.
    ByAnother,
}

/// Why something was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// One line, without secrets.
    pub(super) why: String,
    /// Whether somebody was there who did not want it, and may want the next.
    pub(super) heard: bool,
}

impl Pace {
    fn succeeded(&self) {
        self.failures.set(0);
        self.next.set(None);
    }

    fn failed(&self) {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        self.wait(FIRST.saturating_mul(2u32.saturating_pow(failures)).min(LAST));
    }

    fn wait(&self, time: Duration) {
        self.next.set(Instant::now().checked_add(time));
    }
}
