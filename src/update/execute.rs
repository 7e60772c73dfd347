//! The executor of rollouts: persists the progress, carries out the one action that is due, feeds
//! the event back. No choice is made here that the state machine can make.

use std::time::Duration;

use super::port::{Clock, Engine, InFlight, Ledger, Observer, World};
use super::report::{Entry, Outcome, OutcomeKind};
use super::updater::Updater;
use super::{Event, EventKind};
use crate::model::Failure;
use crate::plan::rollout::{
    self, Action, Mark, Progress, Rollout, State, Step, action, destined, proves_image_bad,
};
use crate::plan::{Cause, Plan, Quarantined};

/// How a rollout ended, for now.
pub(super) struct Ended {
    pub(super) outcomes: Vec<Outcome>,
    /// The host shuts down: no further rollout is begun.
    pub(super) suspended: bool,
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

impl<W: World> Updater<W> {
    /// Carries a fresh rollout to its end; `staged` is what became of its staging.
    pub(super) async fn carry_out(
        &self,
        flight: &mut InFlight,
        staged: Result<(), Failure>,
    ) -> Ended {
        let event = match staged {
            Ok(()) => rollout::Event::Succeeded,
            Err(failure) => rollout::Event::Failed(Cause::Host { failure }),
        };
        self.advance(flight, event);
        self.drive(flight, false).await
    }

    /// Takes up a rollout that an earlier process left.
    pub(super) async fn resume(&self, flight: &mut InFlight) -> Ended {
        self.drive(flight, true).await
    }

    async fn drive(&self, flight: &mut InFlight, mut resumed: bool) -> Ended {
        while flight.progress.state != State::Ended {
            if let Err(failure) = self.world.ledger().save_rollout(flight) {
                return self.give_up(flight, failure);
            }
            let event = self.perform(flight, resumed).await;
            if let rollout::Event::Failed(cause) = &event
                && cause.suspends()
            {
                return self.suspend(flight, cause);
            }
            // Until the first unit's restart is behind us: its binding may have to be done again.
            resumed &= !restarts(&flight.progress.state);
            self.advance(flight, event);
        }
        self.conclude(flight)
    }

    fn advance(&self, flight: &mut InFlight, event: rollout::Event) {
        let went_forward = !matches!(flight.progress.state, State::Back { .. });
        let progress = flight.progress.clone();
        flight.progress = rollout::next(&flight.rollout, progress, event, flight.rollback);
        if let (State::Back { at, .. }, true) = (flight.progress.state, went_forward)
            && let Some(step) = flight.rollout.steps.get(at)
        {
            let why = flight.progress.cause.as_ref().map(Cause::to_string).unwrap_or_default();
            self.tell(flight, step, EventKind::RollingBack, &why);
        }
    }

    /// Carries out the action that is due and says what came of it.
    async fn perform(&self, flight: &InFlight, resumed: bool) -> rollout::Event {
        let InFlight { rollout, progress, .. } = flight;
        let reference = rollout.reference();
        let engine = self.world.engine();
        match action(rollout, progress) {
            Action::Stage => of(engine.stage(&rollout.source, &rollout.new).await),
            Action::Bind { step, image } => of(engine.bind(&step.unit, reference, image).await),
            Action::TryRestart { step } => {
                self.tell(flight, step, EventKind::Restarting, "");
                self.try_restart(step, rollout, resumed).await
            }
            Action::Restart { step } => self.start_again(&step.unit).await,
            Action::Verify { step, image } => {
                if matches!(progress.state, State::Forward { .. }) {
                    self.tell(flight, step, EventKind::Verifying, "");
                }
                self.verify(&step.unit, reference, image).await
            }
            Action::Commit if rollout.moves_tag => of(engine.tag(reference, &rollout.new).await),
            Action::Commit | Action::Nothing => rollout::Event::Succeeded,
            Action::Release => of(self.release(rollout, progress).await),
        }
    }

    /// Leaves every unit with what it is destined to have: by the tag where that says the same,
    /// else by a binding. Units that were not reached have no binding of this rollout.
    async fn release(&self, rollout: &Rollout, progress: &Progress) -> Result<(), Failure> {
        let engine = self.world.engine();
        let reference = rollout.reference();
        let tagged = engine.local(reference).await?.map(|image| image.manifest);
        for (step, mark) in rollout.steps.iter().zip(&progress.marks) {
            let image = destined(rollout, step, mark);
            if tagged.as_ref() == Some(&image.manifest) {
                engine.unbind(&step.unit, reference).await?;
            } else if *mark != Mark::Untouched {
                engine.bind(&step.unit, reference, image).await?;
            }
        }
        if tagged.as_ref() == Some(&rollout.new.manifest) {
            for unit in &rollout.settled {
                engine.unbind(unit, reference).await?;
            }
        }
        Ok(())
    }

    /// Records the end of a rollout: quarantine, history, events; then forgets it.
    fn conclude(&self, flight: &InFlight) -> Ended {
        let outcomes = self.outcomes(flight);
        let mut failures = Vec::new();
        failures.extend(self.quarantine(flight).err());
        for outcome in &outcomes {
            self.world.observer().event(&event_of(outcome));
            let entry = Entry {
                ended: self.world.clock().now(),
                trigger: flight.trigger.clone(),
                outcome: outcome.clone(),
            };
            failures.extend(self.world.ledger().append(&entry).err());
        }
        failures.extend(self.world.ledger().end_rollout(flight).err());
        for failure in failures {
            self.problem(&failure);
        }
        Ended { outcomes, suspended: false }
    }

    fn quarantine(&self, flight: &InFlight) -> Result<(), Failure> {
        let Some(cause) = &flight.progress.cause else { return Ok(()) };
        if !proves_image_bad(&flight.progress) {
            return Ok(());
        }
        let failed = flight.progress.marks.iter().rposition(|mark| *mark == Mark::PutBack);
        let Some(step) = failed.and_then(|at| flight.rollout.steps.get(at)) else { return Ok(()) };
        self.world.ledger().add_to_quarantine(Quarantined {
            repository: flight.rollout.reference().name(),
            manifest: flight.rollout.new.manifest.clone(),
            since: self.world.clock().now(),
            unit: step.unit.clone(),
            cause: cause.to_string(),
        })?;
        self.tell(flight, step, EventKind::Quarantined, &cause.to_string());
        Ok(())
    }

    fn outcomes(&self, flight: &InFlight) -> Vec<Outcome> {
        let cause = flight.progress.cause.as_ref().map(Cause::to_string).unwrap_or_default();
        let steps = flight.rollout.steps.iter().zip(&flight.progress.marks);
        steps.map(|(step, mark)| self.outcome(flight, step, mark, &cause)).collect()
    }

    fn outcome(&self, flight: &InFlight, step: &Step, mark: &Mark, cause: &str) -> Outcome {
        let (result, detail) = match mark {
            Mark::Untouched => (OutcomeKind::NotReached, cause.to_owned()),
            // A commit that failed leaves the unit on the new image, by its binding.
            Mark::Updated => (OutcomeKind::Updated, cause.to_owned()),
            Mark::Stopped => (OutcomeKind::Stopped, "its operator stopped the unit".to_owned()),
            Mark::PutBack => (OutcomeKind::RolledBack, cause.to_owned()),
            Mark::Failed => (OutcomeKind::Failed, cause.to_owned()),
            Mark::Stuck { cause: back } => {
                (OutcomeKind::NeedsOperator, format!("{cause}; and on the way back: {back}"))
            }
        };
        Outcome {
            unit: step.unit.clone(),
            reference: flight.rollout.reference().clone(),
            old: step.old.manifest.clone(),
            new: flight.rollout.new.manifest.clone(),
            result,
            detail,
            elapsed_ms: self.elapsed_ms(flight),
        }
    }

    fn suspend(&self, flight: &InFlight, cause: &Cause) -> Ended {
        self.tell_about(flight, EventKind::Suspended, &cause.to_string());
        let outcomes = flight.rollout.steps.iter().map(|step| Outcome {
            result: OutcomeKind::Suspended,
            detail: cause.to_string(),
            ..self.outcome(flight, step, &Mark::Untouched, "")
        });
        Ended { outcomes: outcomes.collect(), suspended: true }
    }

    /// The ledger cannot be written: nothing more is touched, for nobody would remember it.
    fn give_up(&self, flight: &InFlight, failure: Failure) -> Ended {
        let result = match flight.progress.state {
            State::Forward { at: 0, phase: rollout::Phase::Binding } => OutcomeKind::Failed,
            _ => OutcomeKind::NeedsOperator,
        };
        let detail = format!("the rollout cannot be written down: {failure}");
        let outcomes: Vec<Outcome> = flight
            .rollout
            .steps
            .iter()
            .map(|step| Outcome {
                result,
                detail: detail.clone(),
                ..self.outcome(flight, step, &Mark::Untouched, "")
            })
            .collect();
        for outcome in &outcomes {
            self.world.observer().event(&event_of(outcome));
        }
        Ended { outcomes, suspended: false }
    }

    pub(super) fn tell_about(&self, flight: &InFlight, kind: EventKind, detail: &str) {
        for step in &flight.rollout.steps {
            self.tell(flight, step, kind, detail);
        }
    }

    fn tell(&self, flight: &InFlight, step: &Step, kind: EventKind, detail: &str) {
        self.world.observer().event(&Event {
            kind,
            unit: Some(step.unit.clone()),
            reference: Some(flight.rollout.reference().clone()),
            old: Some(step.old.manifest.clone()),
            new: Some(flight.rollout.new.manifest.clone()),
            detail: detail.to_owned(),
            elapsed_ms: Some(self.elapsed_ms(flight)),
        });
    }

    fn problem(&self, failure: &Failure) {
        let detail = failure.to_string();
        self.world.observer().event(&Event { detail, ..Event::new(EventKind::Problem) });
    }

    fn elapsed_ms(&self, flight: &InFlight) -> u64 {
        let elapsed = self.world.clock().now().duration_since(flight.started);
        let elapsed = Duration::try_from(elapsed).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

fn restarts(state: &State) -> bool {
    use rollout::Phase::Restarting;
    matches!(
        state,
        State::Forward { phase: Restarting, .. } | State::Back { phase: Restarting, .. }
    )
}

fn of(result: Result<(), Failure>) -> rollout::Event {
    match result {
        Ok(()) => rollout::Event::Succeeded,
        Err(failure) => rollout::Event::Failed(Cause::Host { failure }),
    }
}

fn event_of(outcome: &Outcome) -> Event {
    let kind = match outcome.result {
        OutcomeKind::Updated => EventKind::Updated,
        OutcomeKind::RolledBack => EventKind::RolledBack,
        OutcomeKind::Failed => EventKind::UpdateFailed,
        OutcomeKind::NotReached => EventKind::NotReached,
        OutcomeKind::NeedsOperator => EventKind::NeedsOperator,
        OutcomeKind::Stopped => EventKind::StoppedMeanwhile,
        OutcomeKind::Suspended => EventKind::Suspended,
    };
    Event {
        kind,
        unit: Some(outcome.unit.clone()),
        reference: Some(outcome.reference.clone()),
        old: Some(outcome.old.clone()),
        new: Some(outcome.new.clone()),
        detail: outcome.detail.clone(),
        elapsed_ms: Some(outcome.elapsed_ms),
    }
}
