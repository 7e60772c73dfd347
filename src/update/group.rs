//! Units that go together, where one is restarted by the restart of another: it is seen to come up, and
//! restarted only where it did not.

use super::dependents::is_up;
use super::execute::{Begin, Course};
use super::port::{Clock, Dependent, Engine, InFlight, Ledger, Manager, World};
use super::restart::not_queued;
use super::updater::Updater;
use super::verify::LOOK;
use crate::model::{Digest, Failure, ImageIdentity, Reference, UnitName};
use crate::plan::rollout::crew::go_together;
use crate::plan::rollout::{Event, Mark, Rollout, Step};
use crate::plan::{Cause, JobResult};

/// Whether `unit` is another one of the rollout that goes together with the one of `step`.
pub(super) fn goes_with(rollout: &Rollout, step: &Step, unit: &str) -> bool {
    rollout.companions(step).iter().any(|other| other.as_str() == unit)
}

/// Whom the unit of `step` goes together with, for people; empty where it goes alone.
pub(super) fn together(rollout: &Rollout, step: &Step) -> String {
    let units: Vec<&str> = rollout.companions(step).iter().map(|unit| unit.as_str()).collect();
    match step.group.as_ref().filter(|_| !units.is_empty()) {
        Some(group) => format!("together with {} (group {group})", units.join(", ")),
        None => String::new(),
    }
}

/// The unit whose failure takes the one of `step` back with it.
pub(super) fn failed_with<'a>(flight: &'a InFlight, step: &Step) -> Option<&'a UnitName> {
    let failed = flight.progress.failed.and_then(|at| flight.rollout.steps.get(at))?;
    (failed.unit != step.unit && go_together(failed, step)).then_some(&failed.unit)
}

fn carriers<'a>(flight: &'a InFlight, step: &'a Step) -> impl Iterator<Item = &'a Step> {
    step.carried_by.iter().filter_map(|at| flight.rollout.steps.get(*at))
}

impl<W: World> Updater<W> {
    /// Waits until a unit has come up with those whose restart restarts it, so that it runs `image`;
    /// restarts it itself where it does not. It ran before: where it is down and nobody stopped it, it
    /// is brought up.
    pub(super) async fn arrive(
        &self,
        step: &Step,
        image: &ImageIdentity,
        flight: &InFlight,
        course: &Course,
        begin: Begin,
    ) -> Event {
        let unit = &step.unit;
        let manager = self.world.manager();
        let read = async || self.recalled(unit, begin).await.map_err(host);
        let mut state = match read().await {
            Ok(state) => state,
            Err(event) => return event,
        };
        if state.is_transient() {
            return Event::FoundTransient;
        }
        if state.is_starting() {
            let started = self.in_time(unit, self.join_start(unit)).await;
            if started != Event::Succeeded {
                return started;
            }
            state = match read().await {
                Ok(state) => state,
                Err(event) => return event,
            };
        }
        let forward = image == flight.rollout.aim(step).new;
        if is_up(&state.active) {
            // One whose container is still to come is seen to when it is verified.
            return match self.runs_other_than(step, image, &flight.rollout).await {
                false => Event::Succeeded,
                true if forward => self.try_restart(step, &flight.rollout, begin).await,
                true => self.start_again(unit, begin).await,
            };
        }
        if self.was_stopped(step, flight, course).await {
            return Event::FoundStopped;
        }
        let tried = state.active == "failed" || state.active == "activating";
        if forward && tried && begin == Begin::Fresh {
            return self.judge_job(unit, JobResult::Failed).await;
        }
        if let Err(failure) = manager.reset_failed(unit.as_str()).await {
            return host(failure);
        }
        match manager.restart(unit).await {
            Ok(result) => self.judge_job(unit, result).await,
            Err(error) => not_queued(error),
        }
    }

    /// Waits for the start that a unit has a job for.
    async fn join_start(&self, unit: &UnitName) -> Event {
        match self.world.manager().start(unit.as_str()).await {
            Ok(result) => self.judge_job(unit, result).await,
            Err(error) => not_queued(error),
        }
    }

    async fn runs_other_than(&self, step: &Step, image: &ImageIdentity, rollout: &Rollout) -> bool {
        let aim = rollout.aim(step);
        let Ok(engine) = self.world.engine(aim.engine) else { return true };
        let running = engine.running(&step.unit, aim.reference()).await.unwrap_or_default();
        running.iter().any(|running| !running.runs(&image.manifest))
    }

    /// Whether somebody stopped a unit that is down, or one of those that it stops with.
    async fn was_stopped(&self, step: &Step, flight: &InFlight, course: &Course) -> bool {
        let mut by_itself = true;
        for carrier in carriers(flight, step) {
            let state = self.world.manager().state(&carrier.unit).await;
            if state.is_ok_and(|state| state.is_stopped_for_good()) {
                return true;
            }
            let mut wanted = vec![Dependent { unit: step.unit.to_string(), restless: false }];
            self.forget_stopped(carrier, &mut wanted, &flight.boot, course).await;
            by_itself &= wanted.is_empty();
        }
        by_itself
    }

    /// What came of watching a unit. One that goes down may do so because one that it stops with does,
    /// of which the verdict comes first: whoever is to blame fails first.
    pub(super) async fn after_its_carriers(&self, step: &Step, event: Event) -> Event {
        if event != Event::Succeeded && !step.carried_by.is_empty() {
            self.world.clock().sleep(2 * LOOK).await;
        }
        event
    }

    /// A unit that is restarted by another's restart has its automatic restarts counted from here, and
    /// no start limit in its way.
    pub(super) async fn reset_carried(&self, step: &Step) -> Result<(), Failure> {
        match step.carried_by.is_empty() {
            true => Ok(()),
            false => self.world.manager().reset_failed(step.unit.as_str()).await,
        }
    }

    /// Images that failed beside others and have verified beside these are good.
    pub(super) fn release_company(&self, flight: &InFlight) -> Result<(), Failure> {
        let InFlight { rollout, progress, .. } = flight;
        let steps = rollout.steps.iter().zip(&progress.marks);
        let good = steps
            .filter(|(step, _)| step.group.is_some() || !step.beside.is_empty())
            .filter(|(_, mark)| **mark == Mark::Updated)
            .map(|(step, _)| rollout.aim(step));
        self.forgive(good.map(|aim| (aim.reference(), &aim.new.manifest)).collect())
    }

    /// Ends what is held against images for what they did beside others.
    pub(super) fn forgive(&self, good: Vec<(&Reference, &Digest)>) -> Result<(), Failure> {
        if good.is_empty() {
            return Ok(());
        }
        self.world.ledger().drop_from_quarantine(&|held| {
            let is_good = good.iter().any(|(reference, manifest)| held.is(reference, manifest));
            is_good && !held.beside.is_empty()
        })
    }
}

fn host(failure: Failure) -> Event {
    Event::Failed(Cause::Host { failure })
}
