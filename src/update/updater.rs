//! One pass, from beginning to end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::execute::{Ended, events_of};
use super::port::{Clock, Engine, InFlight, Ledger, Observer, World};
use super::report::{Report, Trigger};
use super::{Event, EventKind};
use crate::model::{Failure, FailureKind, ImageIdentity, ImageSource, UnitName};
use crate::plan::rollout::{Progress, Rollout};
use crate::plan::{Backoff, Memory, Plan, Reason};

/// What the configuration says about passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Registry questions under way at once; at least one.
    pub checks_in_flight: usize,
    /// How long a unit is watched after its restart.
    pub settle: Duration,
    /// Whether a failed update goes back.
    pub rollback: bool,
    /// The longest wait before a source that fails is asked again.
    pub backoff_max: Duration,
    /// What single units have of their own.
    pub units: BTreeMap<UnitName, UnitOptions>,
}

/// What the configuration says about one unit; `None` is the host's value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitOptions {
    pub settle: Option<Duration>,
    pub rollback: Option<bool>,
}

impl Options {
    /// How long `unit` is watched.
    pub fn settle(&self, unit: &UnitName) -> Duration {
        self.units.get(unit).and_then(|own| own.settle).unwrap_or(self.settle)
    }

    /// A rollout goes back unless one of its units says otherwise.
    fn rollback(&self, rollout: &Rollout) -> bool {
        let of = |unit| self.units.get(unit).and_then(|own| own.rollback).unwrap_or(self.rollback);
        rollout.steps.iter().all(|step| of(&step.unit))
    }
}

/// Carries out passes over the ports of one host. The caller holds the pass lock for everything
/// but [`Updater::check`].
pub struct Updater<W> {
    pub(super) world: W,
    pub(super) options: Options,
}

impl<W: World> Updater<W> {
    pub fn new(world: W, options: Options) -> Self {
        Self { world, options }
    }

    /// The ports this updater works with.
    pub fn world(&self) -> &W {
        &self.world
    }

    /// What an update of `selection` (empty: all) would do, and for everything else why not.
    /// Changes nothing.
    ///
    /// # Errors
    /// Where the containers or the ledger cannot be read at all.
    pub async fn check(&self, selection: &[UnitName]) -> Result<Plan, Failure> {
        let mut memory = self.world.ledger().memory()?;
        self.survey(selection, true, &mut memory).await
    }

    /// Brings `selection` (empty: all) up to date, after finishing what is in flight.
    ///
    /// # Errors
    /// Where the containers or the ledger cannot be read, or a selected unit owns no container
    /// with the update label. What fails for a single unit is in the report.
    pub async fn update(
        &self,
        selection: &[UnitName],
        trigger: Trigger,
    ) -> Result<Report, Failure> {
        let recovered = self.recover().await?;
        let before = self.world.ledger().memory()?;
        let mut memory = before.clone();
        let plan = self.survey(selection, trigger == Trigger::Manual, &mut memory).await?;
        self.world.ledger().save_memory(&memory)?;
        refuse_unknown(selection, &plan)?;
        self.announce(&plan);
        let staged = self.stage_all(&plan, &before, &mut memory).await;
        self.world.ledger().save_memory(&memory)?;
        let mut report =
            Report { outcomes: recovered.outcomes, skipped: plan.skipped, problems: plan.problems };
        for (rollout, staged) in plan.rollouts.into_iter().zip(staged) {
            let rollback = self.options.rollback(&rollout);
            let mut flight = InFlight {
                progress: Progress::start(&rollout),
                rollout,
                started: self.world.clock().now(),
                trigger: trigger.to_string(),
                rollback,
            };
            let ended = self.carry_out(&mut flight, staged).await;
            report.outcomes.extend(ended.outcomes);
            if ended.suspended {
                break;
            }
        }
        Ok(report)
    }

    /// Finishes or rolls back what an earlier process left in flight.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub async fn recover(&self) -> Result<Report, Failure> {
        let mut report = Report { outcomes: vec![], skipped: vec![], problems: vec![] };
        for mut flight in self.world.ledger().in_flight()? {
            self.tell_about(&flight, EventKind::Resumed, "");
            let Ended { outcomes, suspended } = self.resume(&mut flight).await;
            report.outcomes.extend(outcomes);
            if suspended {
                break;
            }
        }
        Ok(report)
    }

    /// Brings all new images of the pass into storage before the first restart.
    /// A failed one is backed off from like a failed check; `before` has the failures in a row.
    async fn stage_all(
        &self,
        plan: &Plan,
        before: &Memory,
        memory: &mut Memory,
    ) -> Vec<Result<(), Failure>> {
        let mut results = Vec::new();
        for Rollout { source, new, .. } in &plan.rollouts {
            let result = self.stage(source, new).await;
            if let Err(failure) = &result {
                let (now, max) = (self.world.clock().now(), self.options.backoff_max);
                let next = Backoff::after(before.backoff(source), failure.clone(), now, max);
                memory.failed(source, next);
            }
            results.push(result);
        }
        results
    }

    async fn stage(&self, source: &ImageSource, image: &ImageIdentity) -> Result<(), Failure> {
        let about = |kind| Event {
            reference: Some(source.reference.clone()),
            new: Some(image.manifest.clone()),
            ..Event::new(kind)
        };
        self.world.observer().event(&about(EventKind::Staging));
        self.world.engine().stage(source, image).await?;
        self.world.observer().event(&about(EventKind::Staged));
        Ok(())
    }

    /// Tells of what was found: updates, and containers that cannot have any.
    fn announce(&self, plan: &Plan) {
        for event in events_of(plan) {
            self.world.observer().event(&event);
        }
        for skipped in &plan.skipped {
            let kind = match &skipped.reason {
                Reason::CheckFailed { .. } => EventKind::CheckFailed,
                reason if reason.is_error() && !matches!(reason, Reason::CoolingDown { .. }) => {
                    EventKind::Misconfigured
                }
                _ => continue,
            };
            self.world.observer().event(&Event {
                unit: skipped.unit.clone(),
                reference: Some(skipped.reference.clone()),
                old: Some(skipped.image.manifest.clone()),
                detail: format!("container {}: {}", skipped.container, skipped.reason),
                ..Event::new(kind)
            });
        }
        for problem in &plan.problems {
            let detail = problem.to_string();
            self.world.observer().event(&Event { detail, ..Event::new(EventKind::Problem) });
        }
    }
}

/// A unit named on the command line that has nothing to update is an error, not silence.
fn refuse_unknown(selection: &[UnitName], plan: &Plan) -> Result<(), Failure> {
    for unit in selection {
        let planned = plan.rollouts.iter().flat_map(|rollout| &rollout.steps);
        let known = planned.map(|step| &step.unit).any(|known| known == unit)
            || plan.skipped.iter().any(|skipped| skipped.unit.as_ref() == Some(unit));
        if !known {
            let message = format!(
                "unit {unit} runs no container with the label io.containers.autoupdate: \
                 start it, or add the label to its container"
            );
            return Err(Failure::new(FailureKind::Configuration, message));
        }
    }
    Ok(())
}
