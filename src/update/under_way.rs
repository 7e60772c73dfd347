//! What is under way of one rollout: for each of its units one thing at a time, side by side.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use tokio::sync::SemaphorePermit;

use super::port::{AtWork, Dependent, InFlight};
use super::report::Excerpt;
use super::turns::Slots;
use crate::plan::Cause;
use crate::plan::rollout::due::{has_place, ready};
use crate::plan::rollout::{Event, Mark, Phase};

/// What came of one thing.
pub(super) enum Done<'a> {
    /// The unit may be begun with, and has this place where it waited for one.
    Turn(Option<SemaphorePermit<'a>>),
    Came(Came),
}

/// What came of an action.
pub(super) struct Came {
    pub(super) event: Event,
    /// Those that stop with the unit, where they were looked for.
    pub(super) dependents: Option<Vec<Dependent>>,
    /// The run of the unit, where it was left at work.
    pub(super) at_work: Option<AtWork>,
    /// What was written last where it failed.
    pub(super) logs: Vec<Excerpt>,
}

impl From<Event> for Came {
    fn from(event: Event) -> Self {
        Self { event, dependents: None, at_work: None, logs: vec![] }
    }
}

/// The things under way, by their steps; `None` is what is done for all.
#[derive(Default)]
pub(super) struct UnderWay<'a> {
    tasks: BTreeMap<Option<usize>, Task<'a>>,
    places: BTreeMap<usize, SemaphorePermit<'a>>,
    /// Why nothing more is begun.
    still: Option<Cause>,
    /// What was due for which step, and is for the next process.
    left: Vec<(Option<usize>, What)>,
}

struct Task<'a> {
    what: What,
    future: LocalBoxFuture<'a, Done<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Turn,
    /// What is due for a unit that this mark is on.
    Due(Option<Mark>),
}

impl<'a> UnderWay<'a> {
    /// Gives up what is not due any more: a unit that goes back is not watched to the end.
    pub(super) fn keep_what_is_due(&mut self, flight: &InFlight) {
        let InFlight { rollout, progress, .. } = flight;
        let ready = ready(rollout, progress);
        let mark = |at: &Option<usize>| at.and_then(|at| progress.marks.get(at));
        self.tasks.retain(|at, task| match &task.what {
            What::Turn => at.is_some_and(|at| ready.contains(&at)),
            // A restart comes to its end first.
            What::Due(Some(Mark::Moving { phase: Phase::Verifying | Phase::Reviving }))
                if at.is_some_and(|at| ready.contains(&at)) =>
            {
                false
            }
            What::Due(due) => due.as_ref() == mark(at),
        });
        self.places.retain(|at, _| mark(&Some(*at)).is_some_and(has_place));
    }

    /// Whether what is due for the step `at` is neither under way, nor left for the next process.
    pub(super) fn may_begin(&self, flight: &InFlight, at: Option<usize>) -> bool {
        let mark = at.and_then(|at| flight.progress.marks.get(at)).cloned();
        !self.tasks.contains_key(&at) && !self.left.contains(&(at, What::Due(mark)))
    }

    /// Leaves what is due for the step `at` to the next process, and begins with no further unit: those
    /// that have been touched are seen to, as far as that can be.
    pub(super) fn stand_still(&mut self, flight: &InFlight, at: Option<usize>, cause: &Cause) {
        let mark = at.and_then(|at| flight.progress.marks.get(at)).cloned();
        self.left.push((at, What::Due(mark)));
        self.tasks.retain(|_, task| task.what != What::Turn);
        // Somebody may need it who goes back.
        at.map(|at| self.places.remove(&at));
        self.still.get_or_insert_with(|| cause.clone());
    }

    pub(super) fn stands_still(&self) -> Option<&Cause> {
        self.still.as_ref()
    }

    /// Waits for the turn of the step `at`: for one of `slots`, where it needs one.
    pub(super) fn wait_for_turn(&mut self, at: usize, slots: Option<&'a Slots>) {
        let future = async move {
            Done::Turn(match slots {
                Some(slots) => slots.take().await,
                None => None,
            })
        };
        let task = Task { what: What::Turn, future: future.boxed_local() };
        self.tasks.entry(Some(at)).or_insert(task);
    }

    /// Has `action` carried out, which is due for the step `at` at this `mark`.
    pub(super) fn begin(
        &mut self,
        at: Option<usize>,
        mark: Option<Mark>,
        action: impl Future<Output = Came> + 'a,
    ) {
        let future = async move { Done::Came(action.await) };
        self.tasks.insert(at, Task { what: What::Due(mark), future: future.boxed_local() });
    }

    /// The place is the step's until its restart has ended.
    pub(super) fn hold(&mut self, at: usize, place: Option<SemaphorePermit<'a>>) {
        self.places.extend(place.map(|place| (at, place)));
    }

    pub(super) fn holds_place(&self, at: usize) -> bool {
        self.places.contains_key(&at)
    }

    /// Waits for the first thing that is done; `None` where nothing is under way.
    pub(super) async fn next(&mut self) -> Option<(Option<usize>, Done<'a>)> {
        poll_fn(|context| {
            let mut polled = self.tasks.iter_mut();
            let done = polled.find_map(|(at, task)| match task.future.poll_unpin(context) {
                Poll::Ready(done) => Some((*at, done)),
                Poll::Pending => None,
            });
            match done {
                Some((at, done)) => {
                    self.tasks.remove(&at);
                    Poll::Ready(Some((at, done)))
                }
                None if self.tasks.is_empty() => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }
}
