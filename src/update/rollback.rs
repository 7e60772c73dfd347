//! Going back by hand: units get an image that they had, out of storage, through the same states as
//! an update. What may go wrong on the way goes back to what they run.

use super::execute::{Begin, Ended};
use super::port::{Clock, Engine, InFlight, Inventory, JobError, Ledger, Manager, Observer, World};
use super::report::{Entry, OutcomeKind, Report, Trigger};
use super::restart::not_queued;
use super::turns::Pending;
use super::updater::{Recovered, Updater};
use super::{Event, EventKind};
use crate::model::{EngineKind, Failure, FailureKind, UnitName};
use crate::plan::back::{Past, Place, Stored, WayBack, Wish, places, way_back};
use crate::plan::probation::find;
use crate::plan::rollout::{self, Mark, Rollout, Step};
use crate::plan::{Cause, Plan, Quarantined};

/// Why a digest is quarantined that nothing is wrong with but that an operator did not want it.
pub(super) const BY_OPERATOR: &str = "rolled back by an operator";
pub(super) const AT_NEXT_START: &str =
    "rolled back by an operator; the unit does not run, and its next start gets the image";

impl<W: World> Updater<W> {
    /// Has `units` go back to the image `to` (a digest or its beginning), or to what each ran before
    /// its last update, after finishing what is in flight. Asks no registry. `history` is newest
    /// first, and read when that has ended.
    ///
    /// # Errors
    /// Where containers or ledger cannot be read, or one of the units cannot go back: then nothing
    /// was done to any. Where something was in flight, the report has its end, and the failure too.
    pub async fn roll_back(
        &self,
        units: &[UnitName],
        to: Option<&str>,
        history: impl FnOnce() -> Result<Vec<Entry>, Failure>,
    ) -> Result<Report, Failure> {
        let Recovered { mut report, suspended } = self.take_up().await?;
        if suspended {
            let message = "no unit was rolled back, for the host or updaterd is stopping: ask again \
                           when it has started";
            report.problems.push(Failure::new(FailureKind::Local, message));
            return Ok(report);
        }
        let done = async { self.go_back(units, to, &history()?).await };
        let done: Result<Report, Failure> = done.await;
        match done {
            Ok(done) => {
                report.outcomes.extend(done.outcomes);
                report.problems.extend(done.problems);
                report.warnings.extend(done.warnings);
            }
            // What was brought to an end before is not to be lost with it.
            Err(failure) if !report.outcomes.is_empty() => report.problems.push(failure),
            Err(failure) => return Err(failure),
        }
        Ok(report)
    }

    async fn go_back(
        &self,
        units: &[UnitName],
        to: Option<&str>,
        history: &[Entry],
    ) -> Result<Report, Failure> {
        let Inventory { mut containers, bystanders, problems, .. } = self.world.inventory().await?;
        // What a unit was given for its next run is what it is to leave.
        let probations = self.world.ledger().probations()?;
        for container in &mut containers {
            let Some(unit) = &container.unit else { continue };
            let reference = &container.source.reference;
            if let Some(held) = find(&probations, container.engine, unit, reference) {
                container.image = held.new.clone();
                container.digests.clear();
            }
        }
        let past: Vec<Past> = history.iter().filter_map(past).collect();
        let mut stored = Vec::new();
        for place in places(units, &containers, &past) {
            stored.extend(self.stored(place).await?);
        }
        let wish = Wish { units, to, containers: &containers, bystanders: &bystanders };
        let way = way_back(wish, &stored)
            .map_err(|refusal| Failure::from_error(FailureKind::NotFound, &refusal))?;
        self.refuse_in_the_way(&way).await?;
        self.keep_targets(&way).await?;
        let WayBack { mut rollouts, undone, warnings } = way;
        let turns = self.turns(&mut rollouts).await?;
        let pass = self.world.clock().now();
        let pending = rollouts.into_iter().zip(undone).map(|(rollout, undone)| {
            let flight = InFlight {
                // Whatever is configured for updates: a unit is never left down by this.
                rollback: vec![true; rollout.steps.len()],
                undoes: Some(undone),
                ..self.in_flight(rollout, Trigger::Rollback, pass)
            };
            // What is in storage needs no staging.
            Pending::fresh(flight, Ok(()), None)
        });
        let Ended { outcomes, suspended, .. } = self.carry_out_all(pending.collect(), &turns).await;
        let mut warnings = warnings;
        if !suspended {
            warnings.extend(self.clear_storage(pass, &containers).await);
        }
        Ok(Report { outcomes, problems, warnings, ..Report::default() })
    }

    /// What is in storage for a place, by the engine that has its containers; where nobody knows
    /// which that is, by the first that has anything.
    async fn stored<'a>(&self, place: Place<'a>) -> Result<Option<Stored<'a>>, Failure> {
        let known = place.known();
        let engines: Vec<EngineKind> = match place.engine() {
            Some(engine) => vec![engine],
            None => self.world.engines().iter().map(Engine::kind).collect(),
        };
        for engine in engines.iter().copied() {
            let asked = self.world.engine(engine)?;
            let images = asked.kept(place.unit, place.reference, &known).await?;
            if !images.is_empty() || engines.len() == 1 {
                return Ok(Some(Stored { place, engine, images }));
            }
        }
        let nothing = |engine| Stored { place, engine, images: vec![] };
        Ok(engines.first().copied().map(nothing))
    }

    /// What is under way on a reference, by us or by Podman, is not to be crossed.
    async fn refuse_in_the_way(&self, way: &WayBack) -> Result<(), Failure> {
        for flight in self.world.ledger().in_flight()? {
            let own = || way.rollouts.iter().flat_map(Rollout::aims);
            let mut under_way = flight.rollout.aims().map(|aim| aim.reference());
            if let Some(reference) =
                under_way.find(|reference| own().any(|aim| aim.reference() == *reference))
            {
                let message = format!(
                    "the last update of {reference} has not come to its end; \"updaterctl update\" \
                     says why"
                );
                return Err(Failure::new(FailureKind::Local, message));
            }
        }
        let mut plan = Plan {
            made_at: self.world.clock().now(),
            rollouts: way.rollouts.clone(),
            skipped: vec![],
            staging: vec![],
            problems: vec![],
            warnings: vec![],
            asking: vec![],
        };
        self.yield_to_podman(&mut plan).await;
        plan.problems.pop().map_or(Ok(()), Err)
    }

    /// Nothing that is kept on the way may cost the image that is gone back to.
    async fn keep_targets(&self, way: &WayBack) -> Result<(), Failure> {
        for Rollout { source, engine, new, steps, .. } in &way.rollouts {
            let engine = self.world.engine(*engine)?;
            for Step { unit, .. } in steps {
                engine.keep(unit, &source.reference, new).await?;
            }
        }
        Ok(())
    }

    /// Restarts a unit that goes back by hand. One that failed is started, for that is what it goes
    /// back for; one that somebody stopped, or that ends by itself, is left to its next start.
    pub(super) async fn restart_by_hand(
        &self,
        step: &Step,
        rollout: &Rollout,
        begin: Begin,
    ) -> rollout::Event {
        let state = match self.recalled(&step.unit, begin).await {
            Ok(state) => state,
            Err(failure) => return rollout::Event::NotBegun(Cause::Host { failure }),
        };
        let ended = state.active == "inactive" && !state.is_starting();
        if ended || state.is_stopped_for_good() || state.is_transient() {
            return rollout::Event::FoundTransient;
        }
        if (begin.is_resumed() || step.led) && self.runs_new_image(step, rollout).await {
            return rollout::Event::Succeeded;
        }
        // It may be down: what only restarts units that run, and is braked by itself, will not do.
        if self.world.manager().is_winding_down() {
            return not_queued(JobError::ServiceStopping);
        }
        match self.start_again(&step.unit, begin).await {
            rollout::Event::FoundStopped => rollout::Event::FoundTransient,
            event => event,
        }
    }

    /// What an operator had units leave is not to come again by itself.
    pub(super) fn quarantine_undone(&self, flight: &InFlight) -> Result<(), Failure> {
        let Some(undone) = &flight.undoes else { return Ok(()) };
        let went = |mark: &Mark| matches!(mark, Mark::Updated | Mark::Deferred);
        let mut steps = flight.rollout.steps.iter().zip(&flight.progress.marks);
        let Some((step, _)) = steps.find(|(_, mark)| went(mark)) else { return Ok(()) };
        for manifest in undone {
            self.world.ledger().add_to_quarantine(Quarantined {
                repository: flight.rollout.source.reference.name(),
                manifest: manifest.clone(),
                since: self.world.clock().now(),
                unit: step.unit.clone(),
                cause: BY_OPERATOR.to_owned(),
                beside: vec![],
            })?;
            self.world.observer().event(&Event {
                unit: Some(step.unit.clone()),
                reference: Some(flight.rollout.source.reference.clone()),
                new: Some(manifest.clone()),
                detail: BY_OPERATOR.to_owned(),
                ..Event::new(EventKind::Quarantined)
            });
        }
        Ok(())
    }
}

/// What the history says of what a unit was left with; `None` where it was left as it was.
fn past(entry: &Entry) -> Option<Past> {
    let outcome = &entry.outcome;
    let by_hand = entry.trigger == Trigger::Rollback.to_string();
    let reverted = match outcome.result {
        OutcomeKind::Reverted => true,
        OutcomeKind::Updated | OutcomeKind::Deferred => by_hand,
        OutcomeKind::NeedsOperator if outcome.restored => return None,
        OutcomeKind::Failed | OutcomeKind::NeedsOperator if !by_hand => false,
        OutcomeKind::Failed
        | OutcomeKind::NeedsOperator
        | OutcomeKind::RolledBack
        | OutcomeKind::Stopped
        | OutcomeKind::NotReached
        | OutcomeKind::Suspended => return None,
    };
    Some(Past {
        unit: outcome.unit.clone(),
        reference: outcome.reference.clone(),
        engine: entry.engine,
        old: outcome.old.clone(),
        new: outcome.new.clone(),
        ended: entry.ended,
        pass: entry.pass,
        reverted,
    })
}
