//! Rollouts side by side, each when its turn has come.

use std::cell::Cell;
use std::collections::BTreeMap;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::execute::Ended;
use super::port::{InFlight, Manager, World};
use super::report::OutcomeKind;
use super::updater::Updater;
use crate::model::{Failure, UnitName};
use crate::plan::rollout::Event;
use crate::plan::{Cause, Turn, Watch};

/// A rollout that is to be carried out.
pub(super) struct Pending {
    pub(super) flight: InFlight,
    pub(super) first: First,
    /// What is looked at before it begins; `None` where nothing is.
    pub(super) watch: Option<Watch>,
}

/// Where a rollout begins.
pub(super) enum First {
    /// Where an earlier process left it.
    Resume,
    /// After this came of its staging.
    After(Event),
}

impl Pending {
    /// One that begins; `staged` is what became of its staging.
    pub(super) fn fresh(
        flight: InFlight,
        staged: Result<(), Failure>,
        watch: Option<Watch>,
    ) -> Self {
        let staged = match staged {
            Ok(()) => Event::Succeeded,
            Err(failure) => Event::Failed(Cause::Host { failure }),
        };
        Self { flight, first: First::After(staged), watch }
    }
}

/// Places for those who restart a unit now. Whoever goes back needs none: a service is down.
pub(super) struct Slots {
    free: Semaphore,
    closed: Cell<bool>,
}

impl Slots {
    fn new(number: usize) -> Self {
        Self { free: Semaphore::new(number.max(1)), closed: Cell::new(false) }
    }

    /// Waits for a place.
    pub(super) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.free.acquire().await.ok()
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
    }

    /// Whether the host or the service stops: what is not begun is not to be begun.
    pub(super) fn are_closed(&self) -> bool {
        self.closed.get()
    }
}

impl<W: World> Updater<W> {
    /// Carries out all rollouts, each after those it waits for; where one that it needs did not go
    /// well, it is not begun. The outcomes come in the order of the rollouts.
    pub(super) async fn carry_out_all(&self, pending: Vec<Pending>, turns: &[Turn]) -> Ended {
        if pending.is_empty() {
            return Ended::default();
        }
        let _delay = self.world.manager().delay_shutdown(&describe(&pending)).await;
        let slots = Slots::new(self.options.max_parallel);
        let mut waiting: BTreeMap<usize, Pending> = pending.into_iter().enumerate().collect();
        let mut ended: BTreeMap<usize, Ended> = BTreeMap::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            for at in ready(&waiting, &ended, turns) {
                let Some(mut pending) = waiting.remove(&at) else { continue };
                let needs = turns[at].needs.iter().filter_map(|other| ended.get(other));
                if let Some(unit) = needs.filter_map(Ended::failed).next()
                    && matches!(pending.first, First::After(Event::Succeeded))
                    && !slots.are_closed()
                {
                    let cause = Cause::Needed { unit: unit.clone() };
                    pending.first = First::After(Event::NotBegun(cause));
                }
                let slots = &slots;
                under_way.push(async move { (at, self.carry_out(pending, slots).await) });
            }
            let Some((at, one)) = under_way.next().await else { break };
            if one.suspended {
                slots.close();
            }
            ended.insert(at, one);
        }
        let mut all = Ended { suspended: slots.are_closed(), ..Ended::default() };
        for one in ended.into_values() {
            all.outcomes.extend(one.outcomes);
            all.withheld.extend(one.withheld);
        }
        all
    }
}

/// Those that wait for nothing any more.
fn ready(
    waiting: &BTreeMap<usize, Pending>,
    ended: &BTreeMap<usize, Ended>,
    turns: &[Turn],
) -> Vec<usize> {
    let over = |at: &usize| turns[*at].after.iter().all(|other| ended.contains_key(other));
    waiting.keys().copied().filter(over).collect()
}

fn describe(pending: &[Pending]) -> String {
    let aims: Vec<_> = pending.iter().flat_map(|one| one.flight.rollout.aims()).collect();
    match &aims[..] {
        [one] => format!("updating {}", one.reference()),
        many => format!("updating {} images", many.len()),
    }
}

impl Ended {
    /// A unit that did not get there. Where only the tag is still to be moved, it did.
    fn failed(&self) -> Option<&UnitName> {
        use OutcomeKind::{Deferred, Reverted, Stopped, Suspended, Updated};
        let well = |result| matches!(result, Updated | Reverted | Deferred | Stopped | Suspended);
        self.outcomes.iter().find(|outcome| !well(outcome.result)).map(|outcome| &outcome.unit)
    }
}
