//! The executor of rollouts: persists the progress, carries out what is due, feeds the events back.
//! What to do next is the state machine's choice; the executor's own is only when to stand still:
//! where the ledger cannot be written, where the host shuts down, and where the end of a rollout
//! cannot be written down.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::Timestamp;

use super::dependents::LastRestart;
use super::give::promote;
use super::group::{goes_with, together};
use super::port::{AtWork, Clock, InFlight, Ledger, Manager, World};
use super::recall::is_same_boot;
use super::report::Outcome;
use super::restart::not_queued;
use super::turns::{First, Pending, Slots};
use super::under_way::{Came, Done, UnderWay};
use super::updater::Updater;
use super::{Event, EventKind};
use crate::model::{Failure, UnitName};
use crate::plan::decide::Skipped;
use crate::plan::rollout::crew::leads;
use crate::plan::rollout::due::{Action, due, has_place, ready, waits_for_place};
use crate::plan::rollout::{self, Mark, Phase, Rollout, State, advance, begin, next};
use crate::plan::{Cause, JobResult, Plan, Watch};

/// How a rollout ended, for now.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) outcomes: Vec<Outcome>,
    /// The host or the service stops: no further rollout is begun.
    pub(super) suspended: bool,
    /// What was not begun, because something keeps units from it by now.
    pub(super) withheld: Vec<Skipped>,
}

/// Whether this process began the action that is due, or an earlier one may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Fresh,
    Resumed {
        /// When the rollout began, if that was in this boot of the host.
        since: Option<Timestamp>,
    },
}

impl Begin {
    pub(super) fn is_resumed(self) -> bool {
        matches!(self, Self::Resumed { .. })
    }
}

/// The updates that a plan has found.
pub(super) fn events_of(plan: &Plan) -> impl Iterator<Item = Event> {
    plan.rollouts.iter().flat_map(|rollout| {
        rollout.steps.iter().map(|step| {
            let aim = rollout.aim(step);
            Event {
                unit: Some(step.unit.clone()),
                reference: Some(aim.reference().clone()),
                old: Some(step.old.manifest.clone()),
                new: Some(aim.new.manifest.clone()),
                detail: together(rollout, step),
                ..Event::new(EventKind::UpdateAvailable)
            }
        })
    })
}

/// What this process knows of a rollout beside what is written down.
pub(super) struct Course {
    begin: Begin,
    /// The steps whose units this process has restarted.
    restarted: RefCell<BTreeSet<usize>>,
    /// The last restart of each unit.
    restarts: RefCell<BTreeMap<UnitName, LastRestart>>,
    /// What is looked at before anything is touched.
    watch: Option<Watch>,
}

impl Course {
    fn new(begin: Begin, watch: Option<Watch>) -> Self {
        Self { begin, restarted: RefCell::default(), restarts: RefCell::default(), watch }
    }

    /// Until its restart is behind us, what an earlier process did to a unit is not known.
    fn begin(&self, at: usize) -> Begin {
        if self.restarted.borrow().contains(&at) { Begin::Fresh } else { self.begin }
    }

    pub(super) fn last_restart(&self, unit: &UnitName) -> Option<LastRestart> {
        self.restarts.borrow().get(unit).cloned()
    }

    pub(super) fn remember(&self, unit: &UnitName, restart: LastRestart) {
        self.restarts.borrow_mut().insert(unit.clone(), restart);
    }
}

impl<W: World> Updater<W> {
    /// Carries a rollout to its end.
    pub(super) async fn carry_out(&self, pending: Pending, slots: &Slots) -> Ended {
        let Pending { mut flight, first, watch } = pending;
        let boot = self.world.manager().boot().await;
        let begin = match first {
            First::Resume => {
                let same = is_same_boot(&flight.boot, &boot);
                Begin::Resumed { since: same.then_some(flight.started) }
            }
            First::After(event) => {
                flight.boot = boot;
                self.advance(&mut flight, None, event);
                Begin::Fresh
            }
        };
        self.drive(&mut flight, &Course::new(begin, watch), slots).await
    }

    async fn drive(&self, flight: &mut InFlight, course: &Course, slots: &Slots) -> Ended {
        let mut work = UnderWay::default();
        let mut saved = None;
        while flight.progress.state != State::Ended {
            work.keep_what_is_due(flight);
            // Nothing is begun where a rollout stands still; what has been begun ends well first.
            let begins = work.stands_still().is_none() || flight.progress.state == State::Back;
            let turns = ready(&flight.rollout, &flight.progress).into_iter();
            for at in turns.filter(|_| begins) {
                let place = waits_for_place(&flight.rollout, &flight.progress, at).then_some(slots);
                work.wait_for_turn(at, place);
            }
            if let Err(failure) =
                self.begin_what_is_due(flight, &mut saved, &mut work, course, slots)
            {
                return self.give_up(flight, failure);
            }
            let Some((at, done)) = work.next().await else { break };
            match (at, done) {
                (_, Done::Came(Came { event, dependents, at_work, logs })) => {
                    let step = at.and_then(|at| flight.rollout.steps.get(at));
                    if let Some(unit) = step.map(|step| step.unit.clone()) {
                        flight.keep_logs(&unit, logs);
                        flight.at_work.extend(at_work.map(|found| (unit.clone(), found)));
                        flight.dependents.extend(dependents.map(|found| (unit, found)));
                    }
                    match trouble(&event) {
                        Some(cause) if cause.suspends() => {
                            slots.close();
                            work.stand_still(flight, at, cause);
                        }
                        // The units have what they shall have; what is left is tried at the next pass.
                        Some(cause) if at.is_none() && is_settled(flight) => {
                            return self.suspend(flight, cause);
                        }
                        _ => self.advance(flight, at, event),
                    }
                }
                (Some(_), Done::Turn(_)) if slots.are_closed() && is_untouched(flight, course) => {
                    return Ended { suspended: true, ..Ended::default() };
                }
                (Some(at), Done::Turn(place)) => {
                    match self.withheld(flight, course) {
                        Ok(withheld) if withheld.is_empty() => {}
                        Ok(withheld) => return Ended { withheld, ..Ended::default() },
                        Err(failure) => return self.give_up(flight, failure),
                    }
                    self.step_on(flight, |rollout, progress| begin(rollout, progress, at));
                    self.find_dependents(flight, at).await;
                    work.hold(at, place);
                }
                (None, Done::Turn(_)) => {}
            }
        }
        // Of a rollout that has not ended, and does not stand still, something is under way.
        match work.stands_still() {
            Some(cause) if flight.progress.state != State::Ended => {
                Ended { suspended: true, ..self.suspend(flight, cause) }
            }
            cause => Ended { suspended: cause.is_some(), ..self.conclude(flight) },
        }
    }

    /// What keeps units from a rollout that has touched nothing yet.
    fn withheld(&self, flight: &InFlight, course: &Course) -> Result<Vec<Skipped>, Failure> {
        match course.watch.as_ref().filter(|_| is_untouched(flight, course)) {
            Some(watch) => {
                let holds = self.world.ledger().holds()?;
                Ok(watch.withheld(&flight.rollout, holds, self.world.clock().now()))
            }
            None => Ok(vec![]),
        }
    }

    /// Writes down what is due, and begins it.
    fn begin_what_is_due<'a>(
        &'a self,
        flight: &InFlight,
        saved: &mut Option<Rc<InFlight>>,
        work: &mut UnderWay<'a>,
        course: &'a Course,
        slots: &'a Slots,
    ) -> Result<(), Failure> {
        let due = due(&flight.rollout, &flight.progress).into_iter().map(|(at, _)| at);
        let due: Vec<Option<usize>> = due.filter(|at| work.may_begin(flight, *at)).collect();
        if due.is_empty() {
            return Ok(());
        }
        if saved.as_deref() != Some(flight) {
            self.world.ledger().save_rollout(flight)?;
        }
        let now = saved.insert(Rc::new(flight.clone()));
        for at in due {
            let mark = at.and_then(|at| flight.progress.marks.get(at)).cloned();
            // One that was taken up again has none yet. Whoever goes back needs none.
            let forward = flight.progress.state == State::Forward;
            let place = at.zip(mark.as_ref()).is_some_and(|(at, mark)| {
                let leads = leads(&flight.rollout, at);
                forward && leads && has_place(mark) && !work.holds_place(at)
            });
            let now = Rc::clone(now);
            work.begin(at, mark, async move {
                let _place = if place { slots.take().await } else { None };
                let came = self.perform(&now, at, course).await;
                let logs = self.last_words(&now, at, &came.event, course).await;
                Came { logs, ..came }
            });
        }
        Ok(())
    }

    /// Finds who stops with a unit, to be written down before the unit is given anything: after a
    /// power cut it starts with that, and those that could be found then do not run any more.
    async fn find_dependents(&self, flight: &mut InFlight, at: usize) {
        if flight.progress.marks.get(at) != Some(&Mark::Moving { phase: Phase::Binding }) {
            return;
        }
        let Some(step) = flight.rollout.steps.get(at) else { return };
        let unit = step.unit.clone();
        match self.dependents(&unit).await {
            Ok(mut found) => {
                // Those that go together with it are seen to by themselves.
                found.retain(|dependent| !goes_with(&flight.rollout, step, &dependent.unit));
                flight.dependents.insert(unit, found);
            }
            Err(failure) => self.advance(flight, Some(at), not_begun(failure)),
        }
    }

    fn advance(&self, flight: &mut InFlight, at: Option<usize>, event: rollout::Event) {
        let Some(at) = at else {
            self.step_on(flight, |rollout, progress| next(rollout, progress, event));
            return;
        };
        let rollback = flight.rollback.get(at).copied().unwrap_or(true);
        self.step_on(flight, |rollout, progress| advance(rollout, progress, at, event, rollback));
    }

    /// Goes on to the next progress, and tells of those that go back from now on.
    fn step_on(
        &self,
        flight: &mut InFlight,
        next: impl FnOnce(&Rollout, rollout::Progress) -> rollout::Progress,
    ) {
        let progress = next(&flight.rollout, flight.progress.clone());
        let before = std::mem::replace(&mut flight.progress, progress);
        let why = flight.progress.cause.as_ref().map(Cause::to_string).unwrap_or_default();
        let returns = |mark: &Mark| matches!(mark, Mark::Returning { .. });
        let marks = before.marks.iter().zip(&flight.progress.marks);
        for (step, (before, now)) in flight.rollout.steps.iter().zip(marks) {
            if returns(now) && !returns(before) {
                self.tell(flight, step, EventKind::RollingBack, &why);
            }
        }
    }

    /// Carries out what is due for a step, or for all, and says what came of it.
    async fn perform(&self, flight: &InFlight, at: Option<usize>, course: &Course) -> Came {
        let InFlight { rollout, progress, .. } = flight;
        let due = due(rollout, progress).into_iter().find(|(of, _)| *of == at);
        let Some((_, action)) = due else { return rollout::Event::Succeeded.into() };
        let of = at.and_then(|at| rollout.steps.get(at)).map(|step| rollout.aim(step));
        let engine = of.map_or(rollout.engine, |aim| aim.engine);
        let engine = match self.world.engine(engine) {
            Ok(engine) => engine,
            Err(failure) => return not_begun(failure).into(),
        };
        match action {
            Action::Promote { step } => {
                let bound = match promote(engine, step, rollout).await {
                    Ok(()) => self.reset_carried(step).await,
                    failed => failed,
                };
                bound.map_or_else(not_begun, |()| rollout::Event::Succeeded).into()
            }
            Action::PutBack { step } => self.put_back(engine, step, flight, course).await,
            Action::Withdraw { step } => {
                let begin = course.begin(at.unwrap_or_default());
                self.withdraw(engine, step, rollout, begin).await.into()
            }
            Action::Stage => came(self.stage_again(rollout).await).into(),
            Action::Commit => came(self.move_tags(flight).await).into(),
            Action::Release => came(self.release(rollout, progress, course.begin).await).into(),
            action => {
                let at = at.unwrap_or_default();
                let event = self.move_unit(engine, action, flight, at, course).await;
                let event = self.or_shutdown(event).await;
                let left = event == rollout::Event::FoundTransient;
                let unit = rollout.steps.get(at).filter(|_| left).map(|step| &step.unit);
                Came { at_work: self.at_work(unit).await, ..event.into() }
            }
        }
    }

    /// Restarts a unit, or sees what became of it.
    async fn move_unit(
        &self,
        engine: &W::Engine,
        action: Action<'_>,
        flight: &InFlight,
        at: usize,
        course: &Course,
    ) -> rollout::Event {
        let rollout = &flight.rollout;
        let begin = course.begin(at);
        match action {
            Action::TryRestart { step } => {
                self.tell(flight, step, EventKind::Restarting, &together(rollout, step));
                let event = match flight.undoes {
                    None if !step.carried_by.is_empty() => {
                        self.arrive(step, rollout.aim(step).new, flight, course, begin).await
                    }
                    None => self.try_restart(step, rollout, begin).await,
                    Some(_) => self.restart_by_hand(step, rollout, begin).await,
                };
                self.remember_restart(step, flight, course).await;
                course.restarted.borrow_mut().insert(at);
                event
            }
            Action::Restart { step } => {
                let event = match step.carried_by.is_empty() {
                    true => self.start_again(&step.unit, begin).await,
                    false => self.arrive(step, &step.old, flight, course, begin).await,
                };
                self.remember_restart(step, flight, course).await;
                course.restarted.borrow_mut().insert(at);
                event
            }
            Action::Halt { step } => match self.world.manager().stop(&step.unit).await {
                Ok(JobResult::Done) => rollout::Event::Succeeded,
                Ok(result) => rollout::Event::Failed(Cause::Job { result }),
                Err(error) => not_queued(error),
            },
            Action::Revive { step } => {
                let dependents = flight.dependents.get(&step.unit).cloned().unwrap_or_default();
                self.revive(step, dependents, flight, course).await
            }
            Action::Verify { step, image } => {
                if flight.progress.state == State::Forward {
                    self.tell(flight, step, EventKind::Verifying, "");
                }
                let reference = rollout.aim(step).reference();
                let event = self.verify(engine, &step.unit, reference, image, begin).await;
                self.after_its_carriers(step, event).await
            }
            _ => rollout::Event::Succeeded,
        }
    }

    /// The run that a unit is in, which has the image of before.
    async fn at_work(&self, unit: Option<&UnitName>) -> Option<AtWork> {
        let state = self.world.manager().state(unit?).await.ok()?;
        Some(AtWork { invocation: state.invocation, at: self.world.clock().now() })
    }

    /// While the host shuts down units stop, and that says nothing of the image or the operator.
    async fn or_shutdown(&self, event: rollout::Event) -> rollout::Event {
        if event != rollout::Event::Succeeded && self.world.manager().is_shutting_down().await {
            let message = "systemd is stopping all units".to_owned();
            return rollout::Event::Failed(Cause::ShuttingDown { message });
        }
        event
    }
}

/// What went wrong with an action.
fn trouble(event: &rollout::Event) -> Option<&Cause> {
    match event {
        rollout::Event::Failed(cause) | rollout::Event::NotBegun(cause) => Some(cause),
        _ => None,
    }
}

fn is_settled(flight: &InFlight) -> bool {
    matches!(flight.progress.state, State::Committing | State::Releasing)
}

/// Whether nothing was done yet to any unit.
fn is_untouched(flight: &InFlight, course: &Course) -> bool {
    let marks = &flight.progress.marks;
    course.begin == Begin::Fresh && marks.iter().all(|mark| *mark == Mark::Untouched)
}

pub(super) fn not_begun(failure: Failure) -> rollout::Event {
    rollout::Event::NotBegun(Cause::Host { failure })
}

pub(super) fn came(result: Result<(), Failure>) -> rollout::Event {
    match result {
        Ok(()) => rollout::Event::Succeeded,
        Err(failure) => rollout::Event::Failed(Cause::Host { failure }),
    }
}
