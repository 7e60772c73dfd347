//! The executor of rollouts: persists the progress, carries out the one action that is due, feeds
//! the event back. What to do next is the state machine's choice; the executor's own is only when
//! to stand still: where the ledger cannot be written, where the host shuts down, and where the
//! end of a rollout cannot be written down.

use std::collections::BTreeMap;

use super::dependents::LastRestart;
use super::port::{Engine, InFlight, Ledger, Manager, World};
use super::report::Outcome;
use super::turns::{First, Pending, Slots};
use super::updater::Updater;
use super::{Event, EventKind};
use crate::model::{Failure, Reference, UnitName};
use crate::plan::rollout::{self, Action, Along, Rollout, State, Step, action, next};
use crate::plan::{Cause, Plan};

/// How a rollout ended, for now.
pub(super) struct Ended {
    pub(super) outcomes: Vec<Outcome>,
    /// The host or the service stops: no further rollout is begun.
    pub(super) suspended: bool,
}

/// Whether this process began the action that is due, or an earlier one may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Fresh,
    Resumed,
}

/// The updates that a plan has found.
pub(super) fn events_of(plan: &Plan) -> impl Iterator<Item = Event> {
    plan.rollouts.iter().flat_map(|rollout| {
        rollout.steps.iter().map(|step| Event {
            unit: Some(step.unit.clone()),
            reference: Some(rollout.reference().clone()),
            old: Some(step.old.manifest.clone()),
            new: Some(rollout.new.manifest.clone()),
            ..Event::new(EventKind::UpdateAvailable)
        })
    })
}

/// What this process knows of a rollout beside what is written down.
pub(super) struct Course {
    pub(super) begin: Begin,
    /// The last restart of each unit.
    pub(super) restarts: BTreeMap<UnitName, LastRestart>,
}

impl<W: World> Updater<W> {
    /// Carries a rollout to its end.
    pub(super) async fn carry_out(&self, pending: Pending, slots: &Slots) -> Ended {
        let Pending { mut flight, first } = pending;
        let begin = match first {
            First::Resume => Begin::Resumed,
            First::After(event) => {
                self.advance(&mut flight, event);
                Begin::Fresh
            }
        };
        self.drive(&mut flight, begin, slots).await
    }

    async fn drive(&self, flight: &mut InFlight, begin: Begin, slots: &Slots) -> Ended {
        let mut course = Course { begin, restarts: BTreeMap::new() };
        let mut slot = None;
        while flight.progress.state != State::Ended {
            slot = slots.for_state(slot, &flight.progress.state).await;
            if slots.are_closed() && is_untouched(flight, course.begin) {
                return Ended { outcomes: vec![], suspended: true };
            }
            if let Err(failure) = self.world.ledger().save_rollout(flight) {
                return self.give_up(flight, failure);
            }
            let event = match self.prepare(flight, &course).await {
                Ok(()) => self.perform(flight, &mut course).await,
                Err(failure) => not_begun(failure),
            };
            if let Some(ended) = self.stand_still(flight, &event) {
                return ended;
            }
            self.keep_log(flight, &event, &course).await;
            // Until the first unit's restart is behind us: its binding may have to be done again.
            if restarts(&flight.progress.state) {
                course.begin = Begin::Fresh;
            }
            self.advance(flight, event);
        }
        self.conclude(flight)
    }

    /// Finds out what cannot be known any more once a unit is touched: who stops with it.
    async fn prepare(&self, flight: &mut InFlight, course: &Course) -> Result<(), Failure> {
        let InFlight { rollout, progress, dependents, boot, .. } = flight;
        match action(rollout, progress) {
            Action::Promote { step } => {
                let found = self.dependents(&step.unit).await?;
                dependents.insert(step.unit.clone(), found);
            }
            Action::PutBack { step } => {
                if let Some(dependents) = dependents.get_mut(&step.unit) {
                    self.forget_stopped(step, dependents, boot, course).await;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A rollout that goes on later, in the state that it is in.
    fn stand_still(&self, flight: &InFlight, event: &rollout::Event) -> Option<Ended> {
        use rollout::Event::{Failed, NotBegun};
        let (Failed(cause) | NotBegun(cause)) = event else { return None };
        if cause.suspends() {
            return Some(Ended { suspended: true, ..self.suspend(flight, cause) });
        }
        // The units have what they shall have; what is left is tried again at the next pass.
        let last = matches!(flight.progress.state, State::Committing | State::Releasing);
        last.then(|| self.suspend(flight, cause))
    }

    fn advance(&self, flight: &mut InFlight, event: rollout::Event) {
        let went_forward = !matches!(flight.progress.state, State::Back { .. });
        let rollback = match flight.progress.state {
            State::Forward { at, .. } => flight.rollback.get(at).copied().unwrap_or(true),
            _ => true,
        };
        flight.progress = next(&flight.rollout, flight.progress.clone(), event, rollback);
        if let (State::Back { at, .. }, true) = (flight.progress.state, went_forward)
            && let Some(step) = flight.rollout.steps.get(at)
        {
            let why = flight.progress.cause.as_ref().map(Cause::to_string).unwrap_or_default();
            self.tell(flight, step, EventKind::RollingBack, &why);
        }
    }

    /// Carries out the action that is due and says what came of it.
    async fn perform(&self, flight: &InFlight, course: &mut Course) -> rollout::Event {
        let InFlight { rollout, progress, .. } = flight;
        let begin = course.begin;
        let reference = rollout.reference();
        let engine = match self.world.engine(rollout.engine) {
            Ok(engine) => engine,
            Err(failure) => return not_begun(failure),
        };
        let forward = matches!(progress.state, State::Forward { .. });
        let event = match action(rollout, progress) {
            Action::Stage => return of(engine.stage(&rollout.source, &rollout.new).await),
            Action::Promote { step } => {
                let bound = promote(engine, step, rollout).await;
                return bound.map_or_else(not_begun, |()| rollout::Event::Succeeded);
            }
            Action::PutBack { step } => {
                return of(put_back(engine, step, reference).await);
            }
            Action::Commit if rollout.moves_tag => {
                return of(engine.tag(reference, &rollout.new).await);
            }
            Action::Commit | Action::Nothing => return rollout::Event::Succeeded,
            Action::Release => return of(self.release(rollout, progress).await),
            Action::TryRestart { step } => {
                self.tell(flight, step, EventKind::Restarting, "");
                let event = match flight.undoes {
                    None => self.try_restart(step, rollout, begin).await,
                    Some(_) => self.restart_by_hand(step, rollout, begin).await,
                };
                self.remember_restart(step, flight, course).await;
                event
            }
            Action::Restart { step } => {
                let event = self.start_again(&step.unit).await;
                self.remember_restart(step, flight, course).await;
                event
            }
            Action::Revive { step } => {
                let dependents = flight.dependents.get(&step.unit).cloned().unwrap_or_default();
                self.revive(step, dependents, flight, course).await
            }
            Action::Verify { step, image } => {
                if forward {
                    self.tell(flight, step, EventKind::Verifying, "");
                }
                self.verify(engine, &step.unit, reference, image, begin).await
            }
        };
        self.or_shutdown(event).await
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

/// Gives a unit its new images; what it runs stays in storage.
async fn promote<E: Engine>(engine: &E, step: &Step, rollout: &Rollout) -> Result<(), Failure> {
    let reference = rollout.reference();
    engine.keep(&step.unit, reference, &step.old).await?;
    for Along { source, old, .. } in &step.along {
        engine.keep(&step.unit, &source.reference, old).await?;
    }
    let bound = async {
        for Along { source, new, .. } in &step.along {
            engine.bind(&step.unit, &source.reference, new).await?;
        }
        engine.bind(&step.unit, reference, &rollout.new).await
    };
    let bound: Result<(), Failure> = bound.await;
    if let Err(failure) = &bound
        && let Err(back) = put_back(engine, step, reference).await
    {
        let message = format!("{failure}; and what was done cannot be undone: {back}");
        return Err(Failure::new(failure.kind.clone(), message));
    }
    bound
}

/// Gives a unit its old images.
async fn put_back<E: Engine>(
    engine: &E,
    step: &Step,
    reference: &Reference,
) -> Result<(), Failure> {
    for Along { source, old, .. } in &step.along {
        engine.bind(&step.unit, &source.reference, old).await?;
    }
    engine.bind(&step.unit, reference, &step.old).await
}

/// Whether nothing was done yet to any unit.
fn is_untouched(flight: &InFlight, begin: Begin) -> bool {
    let first = State::Forward { at: 0, phase: rollout::Phase::Binding };
    begin == Begin::Fresh && flight.progress.state == first
}

fn restarts(state: &State) -> bool {
    use rollout::Phase::Restarting;
    matches!(
        state,
        State::Forward { phase: Restarting, .. } | State::Back { phase: Restarting, .. }
    )
}

fn not_begun(failure: Failure) -> rollout::Event {
    rollout::Event::NotBegun(Cause::Host { failure })
}

fn of(result: Result<(), Failure>) -> rollout::Event {
    match result {
        Ok(()) => rollout::Event::Succeeded,
        Err(failure) => rollout::Event::Failed(Cause::Host { failure }),
    }
}
