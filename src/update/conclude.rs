//! The end of a rollout: outcomes, quarantine, history, events.

use std::time::Duration;

use super::execute::Ended;
use super::group::failed_with;
use super::hindered::{advice, is_hindered};
use super::port::{Clock, InFlight, Ledger, Observer, World};
use super::report::{Entry, Outcome, OutcomeKind};
use super::rollback::{AT_NEXT_START, BY_OPERATOR};
use super::updater::Updater;
use super::{Event, EventKind, Origin};
use crate::model::Failure;
use crate::plan::rollout::{Mark, Phase, Step, condemned_by};
use crate::plan::{Cause, Quarantined};

const STOPPED: &str = "the unit was stopped meanwhile, and is not started for an update";
const DEFERRED: &str = "the unit ends by itself; its next start gets the new image, and \
                        proves it";
const HALTED: &str = "the unit is stopped, and keeps the new image, for its data may be that one's \
                      alone (rollback = \"never\")";

impl<W: World> Updater<W> {
    /// Records the end of a rollout: quarantine, history, events; then forgets it. Where the image
    /// cannot be quarantined, or the end not be written down, the rollout is kept, and ends again at
    /// the next pass.
    pub(super) fn conclude(&self, flight: &InFlight) -> Ended {
        let outcomes = self.outcomes(flight);
        let quarantined = self
            .quarantine(flight)
            .and_then(|()| self.quarantine_undone(flight))
            .and_then(|()| self.put_on_probation(flight));
        self.tell_ends(flight, &outcomes);
        if let Err(failure) = quarantined {
            self.problem(&failure);
            return Ended { outcomes, ..Ended::default() };
        }
        if let Err(failure) = self.put_off(flight) {
            self.problem(&failure);
        }
        let mut failures = Vec::new();
        for (step, outcome) in flight.rollout.steps.iter().zip(&outcomes) {
            let entry = Entry {
                ended: self.world.clock().now(),
                trigger: flight.trigger.clone(),
                pass: flight.pass,
                engine: Some(flight.rollout.aim(step).engine),
                outcome: outcome.clone(),
                logs: flight.logs.get(&outcome.unit).cloned().unwrap_or_default(),
            };
            failures.extend(self.world.ledger().append(&entry).err());
        }
        // What nobody would know of ends again at the next pass.
        if failures.is_empty() {
            failures.extend(self.world.ledger().end_rollout(flight).err());
        }
        for failure in failures {
            self.problem(&failure);
        }
        Ended { outcomes, ..Ended::default() }
    }

    fn quarantine(&self, flight: &InFlight) -> Result<(), Failure> {
        let progress = &flight.progress;
        self.release_company(flight)?;
        let condemned = condemned_by(&flight.rollout, progress);
        let (Some(cause), Some(step)) = (&progress.cause, condemned) else { return Ok(()) };
        let aim = flight.rollout.aim(step);
        let held = Quarantined {
            repository: aim.reference().name(),
            manifest: aim.new.manifest.clone(),
            since: self.world.clock().now(),
            unit: step.unit.clone(),
            cause: cause.to_string(),
            beside: step.beside.clone(),
        };
        let why = held.why();
        self.world.ledger().add_to_quarantine(held)?;
        self.tell(flight, step, EventKind::Quarantined, &why);
        Ok(())
    }

    fn outcomes(&self, flight: &InFlight) -> Vec<Outcome> {
        let cause = flight.progress.cause.as_ref().map(Cause::to_string).unwrap_or_default();
        let steps = flight.rollout.steps.iter().zip(&flight.progress.marks);
        let why = |step| match failed_with(flight, step) {
            Some(unit) => format!("{unit}, which it goes with, failed: {cause}"),
            None => cause.clone(),
        };
        steps.map(|(step, mark)| self.outcome(flight, step, mark, &why(step))).collect()
    }

    fn outcome(&self, flight: &InFlight, step: &Step, mark: &Mark, cause: &str) -> Outcome {
        let (result, detail) = match mark {
            Mark::Updated if flight.undoes.is_some() => {
                (OutcomeKind::Reverted, BY_OPERATOR.to_owned())
            }
            Mark::Deferred if flight.undoes.is_some() => {
                (OutcomeKind::Deferred, AT_NEXT_START.to_owned())
            }
            Mark::Untouched | Mark::Withdrawing => (OutcomeKind::NotReached, cause.to_owned()),
            Mark::Updated => (OutcomeKind::Updated, String::new()),
            Mark::Deferred => (OutcomeKind::Deferred, DEFERRED.to_owned()),
            Mark::Stopped => (OutcomeKind::Stopped, STOPPED.to_owned()),
            Mark::PutBack if is_hindered(flight) => (
                OutcomeKind::NeedsOperator,
                advice(flight.undoes.is_some(), &step.unit, &step.old, cause),
            ),
            Mark::PutBack => (OutcomeKind::RolledBack, cause.to_owned()),
            Mark::Failed { cause: Some(own) } => (OutcomeKind::Failed, own.to_string()),
            Mark::Unbegun | Mark::Failed { cause: None } => (OutcomeKind::Failed, cause.to_owned()),
            Mark::Halted { cause, trouble: None } => {
                (OutcomeKind::NeedsOperator, format!("{cause}; {HALTED}"))
            }
            Mark::Halted { cause, trouble: Some(trouble) } => {
                let detail = format!("{cause}; and it could not be stopped: {trouble}");
                (OutcomeKind::NeedsOperator, detail)
            }
            // No rollout ends with these.
            Mark::Moving { .. } | Mark::Returning { .. } | Mark::Halting { .. } => {
                (OutcomeKind::Suspended, cause.to_owned())
            }
            Mark::Stuck { cause: back } => {
                (OutcomeKind::NeedsOperator, format!("{cause}; and on the way back: {back}"))
            }
        };
        let aim = flight.rollout.aim(step);
        Outcome {
            unit: step.unit.clone(),
            reference: aim.reference().clone(),
            old: step.old.manifest.clone(),
            new: aim.new.manifest.clone(),
            result,
            detail,
            restored: result == OutcomeKind::NeedsOperator && *mark == Mark::PutBack,
            elapsed_ms: self.elapsed_ms(flight),
        }
    }

    pub(super) fn suspend(&self, flight: &InFlight, cause: &Cause) -> Ended {
        self.tell_about(flight, EventKind::Suspended, &cause.to_string());
        let outcomes = flight.rollout.steps.iter().map(|step| Outcome {
            result: OutcomeKind::Suspended,
            detail: cause.to_string(),
            ..self.outcome(flight, step, &Mark::Untouched, "")
        });
        Ended { outcomes: outcomes.collect(), ..Ended::default() }
    }

    /// The ledger cannot be written: nothing more is touched, for nobody would remember it.
    pub(super) fn give_up(&self, flight: &InFlight, failure: Failure) -> Ended {
        let untouched =
            |mark: &Mark| matches!(mark, Mark::Untouched | Mark::Moving { phase: Phase::Binding });
        let result = match flight.progress.marks.iter().all(untouched) {
            true => OutcomeKind::Failed,
            false => OutcomeKind::NeedsOperator,
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
        self.tell_ends(flight, &outcomes);
        Ended { outcomes, ..Ended::default() }
    }

    fn tell_ends(&self, flight: &InFlight, outcomes: &[Outcome]) {
        for (step, outcome) in flight.rollout.steps.iter().zip(outcomes) {
            self.world.observer().event(&event_of(flight, step, outcome));
        }
    }

    pub(super) fn tell_about(&self, flight: &InFlight, kind: EventKind, detail: &str) {
        for step in &flight.rollout.steps {
            self.tell(flight, step, kind, detail);
        }
    }

    pub(super) fn tell(&self, flight: &InFlight, step: &Step, kind: EventKind, detail: &str) {
        let aim = flight.rollout.aim(step);
        self.world.observer().event(&Event {
            kind,
            unit: Some(step.unit.clone()),
            reference: Some(aim.reference().clone()),
            old: Some(step.old.manifest.clone()),
            new: Some(aim.new.manifest.clone()),
            detail: detail.to_owned(),
            elapsed_ms: Some(self.elapsed_ms(flight)),
            origin: None,
        });
    }

    pub(super) fn problem(&self, failure: &Failure) {
        let detail = failure.to_string();
        self.world.observer().event(&Event { detail, ..Event::new(EventKind::Problem) });
    }

    fn elapsed_ms(&self, flight: &InFlight) -> u64 {
        let elapsed = self.world.clock().now().duration_since(flight.started);
        let elapsed = Duration::try_from(elapsed).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

fn event_of(flight: &InFlight, step: &Step, outcome: &Outcome) -> Event {
    let engine = flight.rollout.aim(step).engine;
    let kind = match outcome.restored {
        true => EventKind::TakenBack,
        false => EventKind::of(outcome.result),
    };
    Event {
        kind,
        unit: Some(outcome.unit.clone()),
        reference: Some(outcome.reference.clone()),
        old: Some(outcome.old.clone()),
        new: Some(outcome.new.clone()),
        detail: outcome.detail.clone(),
        elapsed_ms: Some(outcome.elapsed_ms),
        origin: Some(Origin { started: flight.started, engine }),
    }
}
