//! One pass, from beginning to end.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::Timestamp;

use super::check::Surveyed;
use super::execute::{Ended, events_of};
use super::options::Options;
use super::port::{Clock, InFlight, Ledger, Manager as _, Observer, World};
use super::report::{Report, Trigger};
use super::stage::Staged;
use super::turns::{First, Pending};
use super::{Event, EventKind};
use crate::model::{Container, EngineKind, Failure, FailureKind, ImageSource, Mode, UnitName};
use crate::plan::gate::{Gate, describe};
use crate::plan::rollout::{Progress, Rollout};
use crate::plan::{Graph, Memory, Plan, Reason, Turn, Watch, order};

/// The unit in which Podman updates its containers itself.
const PODMANS_OWN: &str = "podman-auto-update.service";

/// What became of the rollouts in flight.
pub(super) struct Recovered {
    pub(super) report: Report,
    /// Nothing else may be begun now.
    pub(super) suspended: bool,
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

    /// What it works by.
    pub fn options(&self) -> &Options {
        &self.options
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
    pub async fn check(&self, selection: &[UnitName]) -> Result<Surveyed, Failure> {
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
        Ok(self.update_and_tell(selection, trigger).await?.0)
    }

    /// As [`Updater::update`], and says which containers ran before; none where nothing was looked at.
    ///
    /// # Errors
    /// As [`Updater::update`].
    pub async fn update_and_tell(
        &self,
        selection: &[UnitName],
        trigger: Trigger,
    ) -> Result<(Report, Vec<Container>), Failure> {
        let Recovered { mut report, suspended } = self.take_up().await?;
        if suspended {
            return Ok((report, vec![]));
        }
        match self.bring_up_to_date(selection, trigger, &mut report).await {
            Ok(containers) => Ok((report, containers)),
            // What was brought to an end before is not to be lost with it.
            Err(failure) if !report.outcomes.is_empty() => {
                report.problems.push(failure);
                Ok((report, vec![]))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn bring_up_to_date(
        &self,
        selection: &[UnitName],
        trigger: Trigger,
        report: &mut Report,
    ) -> Result<Vec<Container>, Failure> {
        let (now, expiry) = (self.world.clock().now(), self.options.quarantine_expiry);
        self.world.ledger().drop_from_quarantine(&|held| held.is_over(now, expiry))?;
        let before = self.world.ledger().memory()?;
        let mut memory = before.clone();
        let manual = trigger == Trigger::Manual;
        let Surveyed { mut plan, containers, gates } =
            self.survey(selection, manual, &mut memory).await?;
        self.world.ledger().save_memory(&memory)?;
        refuse_unknown(selection, &plan)?;
        // What could not be brought to its end must not be begun anew over its record.
        let flights = self.world.ledger().in_flight()?;
        plan.rollouts
            .retain(|rollout| !flights.iter().any(|flight| flight.rollout.crosses(rollout)));
        self.yield_to_podman(&mut plan).await;
        self.announce(&plan, &mut memory);
        for aim in plan.rollouts.iter().flat_map(Rollout::aims) {
            memory.seen.keep(aim.reference(), &aim.new.manifest, false);
        }
        for waits in &plan.staging {
            memory.seen.keep(&waits.source.reference, &waits.image.manifest, true);
        }
        let Staged { rollouts: staged, ahead } =
            self.stage_all(&plan, &before, &mut memory).await?;
        self.world.ledger().save_memory(&memory)?;
        self.note_staged(&mut plan, ahead);
        report.skipped = plan.skipped;
        report.problems.extend(plan.problems);
        let failed: Vec<ImageSource> = plan
            .rollouts
            .iter()
            .zip(&staged)
            .filter(|(_, staged)| staged.is_err())
            .flat_map(|(rollout, _)| rollout.aims().map(|aim| aim.source.clone()))
            .collect();
        let (turns, pass) = (self.turns(&mut plan.rollouts).await?, plan.made_at);
        let gates = Rc::new(gates);
        let pending = plan.rollouts.into_iter().zip(staged).map(|(mut rollout, staged)| {
            // What could not be staged comes along with nothing.
            for step in &mut rollout.steps {
                step.along.retain(|along| !failed.contains(&along.source));
            }
            let watch = Watch::new(Rc::clone(&gates), &rollout, &containers);
            Pending::fresh(self.in_flight(rollout, trigger, pass), staged, Some(watch))
        });
        let pending = pending.collect();
        let Ended { outcomes, suspended, withheld } = self.carry_out_all(pending, &turns).await;
        report.skipped.extend(withheld);
        report.outcomes.extend(outcomes);
        if !suspended {
            report.warnings.extend(self.clear_storage(pass, &containers).await);
        }
        Ok(containers)
    }

    /// Says with each unit that waits whether its image is in storage.
    fn note_staged(&self, plan: &mut Plan, ahead: Vec<Result<(), Failure>>) {
        for (staging, result) in plan.staging.iter().zip(ahead) {
            if let Err(failure) = result {
                self.problem(&failure);
                plan.problems.push(failure);
                continue;
            }
            for skipped in &mut plan.skipped {
                if let Reason::Gated { manifest, staged, .. } = &mut skipped.reason
                    && skipped.reference == staging.source.reference
                    && manifest == &staging.image.manifest
                {
                    *staged = true;
                }
            }
        }
    }

    /// What each rollout waits for.
    ///
    /// # Errors
    /// Where systemd cannot be asked.
    pub(super) async fn turns(&self, rollouts: &mut [Rollout]) -> Result<Vec<Turn>, Failure> {
        let units: BTreeSet<UnitName> = rollouts
            .iter()
            .flat_map(|rollout| rollout.steps.iter().map(|step| step.unit.clone()))
            .collect();
        let graph = match units.len() {
            0 | 1 => Graph::default(),
            _ => self.graph(&units.iter().collect()).await?,
        };
        Ok(order(rollouts, &graph))
    }

    /// A rollout of the pass that began at `pass`.
    pub(super) fn in_flight(
        &self,
        mut rollout: Rollout,
        trigger: Trigger,
        pass: Timestamp,
    ) -> InFlight {
        if trigger != Trigger::Rollback {
            self.options.mark_forward_only(&mut rollout);
        }
        InFlight {
            progress: Progress::start(&rollout),
            rollback: self.options.rollbacks(&rollout),
            rollout,
            started: self.world.clock().now(),
            trigger: trigger.to_string(),
            dependents: BTreeMap::new(),
            boot: String::new(),
            pass: Some(pass),
            undoes: None,
            at_work: BTreeMap::new(),
            logs: BTreeMap::new(),
        }
    }

    /// Two who move the same tags and restart the same units undo each other's work.
    pub(super) async fn yield_to_podman(&self, plan: &mut Plan) {
        let of_podman =
            |rollout: &Rollout| rollout.aims().any(|aim| aim.engine == EngineKind::Podman);
        if !plan.rollouts.iter().any(of_podman) {
            return;
        }
        let Ok(unit) = PODMANS_OWN.parse::<UnitName>() else { return };
        // Where systemd cannot be asked, nothing is restarted anyway.
        let Ok(state) = self.world.manager().state(&unit).await else { return };
        if matches!(state.active.as_str(), "activating" | "active" | "deactivating") {
            plan.rollouts.retain(|rollout| !of_podman(rollout));
            let message = format!(
                "{unit} is under way: Podman's containers are left alone until it has ended; \
                 \"systemctl disable --now podman-auto-update.timer\" leaves them to updaterd"
            );
            plan.problems.push(Failure::new(FailureKind::Local, message));
        }
    }

    /// Finishes or rolls back what an earlier process left in flight.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub async fn recover(&self) -> Result<Report, Failure> {
        Ok(self.take_up().await?.report)
    }

    /// Those that are in flight were begun side by side: none of them waits for another.
    pub(super) async fn take_up(&self) -> Result<Recovered, Failure> {
        let mut report = Report::default();
        for damage in self.world.ledger().mend()? {
            let failure = Failure::new(FailureKind::Local, damage);
            self.problem(&failure);
            report.problems.push(failure);
        }
        let flights = self.world.ledger().in_flight()?;
        for flight in &flights {
            self.tell_about(flight, EventKind::Resumed, "");
        }
        let turns = vec![Turn::default(); flights.len()];
        let resume = |flight| Pending { flight, first: First::Resume, watch: None };
        let pending = flights.into_iter().map(resume);
        let Ended { outcomes, suspended, .. } = self.carry_out_all(pending.collect(), &turns).await;
        report.outcomes = outcomes;
        if !suspended {
            self.look_at_probations(&mut report).await?;
        }
        Ok(Recovered { report, suspended })
    }

    /// Tells of what was found: updates, and containers that cannot have any.
    fn announce(&self, plan: &Plan, memory: &mut Memory) {
        for event in events_of(plan).chain(waiting(plan, memory)) {
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

/// The updates that wait: each image is told once, with all of its units.
fn waiting(plan: &Plan, memory: &mut Memory) -> Vec<Event> {
    let is_quiet = |gate: &Gate| matches!(gate, Gate::Mode { mode: Mode::Manual });
    let (mut news, mut events) = (BTreeMap::new(), Vec::new());
    for skipped in &plan.skipped {
        let (Reason::Gated { manifest, gates, .. }, reference) =
            (&skipped.reason, &skipped.reference)
        else {
            continue;
        };
        if gates.iter().any(is_quiet) {
            continue;
        }
        let tell = || memory.seen.tell(reference, manifest);
        if *news.entry((reference, manifest)).or_insert_with(tell) {
            events.push(Event {
                unit: skipped.unit.clone(),
                reference: Some(reference.clone()),
                old: Some(skipped.image.manifest.clone()),
                new: Some(manifest.clone()),
                detail: describe(gates),
                ..Event::new(EventKind::UpdateAvailable)
            });
        }
    }
    events
}

/// A unit named on the command line that has nothing to update is an error, not silence.
fn refuse_unknown(selection: &[UnitName], plan: &Plan) -> Result<(), Failure> {
    for unit in selection {
        let planned = plan.rollouts.iter().flat_map(|rollout| &rollout.steps);
        let known = planned.map(|step| &step.unit).any(|known| known == unit)
            || plan.skipped.iter().any(|skipped| skipped.unit.as_ref() == Some(unit));
        if !known {
            let mut message = format!(
                "unit {unit} runs no container with the label io.containers.autoupdate: \
                 start it, or add the label to its container"
            );
            if let Some(problem) = plan.problems.first() {
                message = format!("unit {unit} runs no container that could be read: {problem}");
            }
            return Err(Failure::new(FailureKind::Configuration, message));
        }
    }
    Ok(())
}
