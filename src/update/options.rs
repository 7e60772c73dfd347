//! What the configuration says about passes, for the host and for single units.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Group, Probe, Rollback, Rules, UnitName};
use crate::plan::retention::Limits;
use crate::plan::rollout::{Rollout, Step};

/// What the configuration says about passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Registry questions under way at once; at least one.
    pub checks_in_flight: usize,
    /// How much of a registry's limit on pulls is kept for units that need an image to start and for
    /// people who ask, in percent.
    pub pull_reserve: u8,
    /// Units that are restarted at once; at least one.
    pub max_parallel: usize,
    /// How long a unit is watched after its restart.
    pub settle: Duration,
    /// What becomes of a unit whose update failed.
    pub rollback: Rollback,
    /// The longest wait before a source that fails is asked again.
    pub backoff_max: Duration,
    /// How long an image that failed is not tried again; `None` is for ever.
    pub quarantine_expiry: Option<Duration>,
    /// When units may be updated.
    pub rules: Rules,
    /// Which images stay in storage.
    pub retention: Limits,
    /// What single units have of their own.
    pub units: BTreeMap<UnitName, UnitOptions>,
}

/// What the configuration says about one unit; `None` is the host's value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitOptions {
    pub settle: Option<Duration>,
    pub rollback: Option<Rollback>,
    /// Whether the health of its containers counts.
    pub health: Option<bool>,
    pub probe: Option<Probe>,
    /// How long the probe may take to pass, after the settle time.
    pub probe_timeout: Option<Duration>,
    /// How long its start on another image may take; `None` leaves that to systemd.
    pub start_timeout: Option<Duration>,
    /// The group that it is updated with, whatever a label says.
    pub group: Option<Group>,
    pub rules: Rules,
}

/// How long a probe may take to pass, where nobody says otherwise.
const PROBE: Duration = Duration::from_secs(30);

impl Options {
    /// The number of questions under way at once.
    pub(super) fn in_flight(&self) -> usize {
        self.checks_in_flight.max(1)
    }

    /// The groups of units, as far as the configuration has them.
    pub(super) fn groups(&self) -> BTreeMap<UnitName, Group> {
        let own = self.units.iter();
        own.filter_map(|(unit, own)| Some((unit.clone(), own.group.clone()?))).collect()
    }

    /// When `unit` may be updated.
    pub(super) fn rules(&self, unit: &UnitName) -> Rules {
        match self.units.get(unit) {
            Some(own) => own.rules.over(&self.rules),
            None => self.rules.clone(),
        }
    }

    /// How long `unit` is watched.
    pub fn settle(&self, unit: &UnitName) -> Duration {
        self.units.get(unit).and_then(|own| own.settle).unwrap_or(self.settle)
    }

    /// Whether the health of `unit`'s containers counts.
    pub(super) fn health(&self, unit: &UnitName) -> bool {
        self.units.get(unit).and_then(|own| own.health).unwrap_or(true)
    }

    /// What `unit` is asked, and how long it may take to answer well.
    pub(super) fn probe(&self, unit: &UnitName) -> Option<(&Probe, Duration)> {
        let own = self.units.get(unit)?;
        Some((own.probe.as_ref()?, own.probe_timeout.unwrap_or(PROBE)))
    }

    /// As a caller wants it whatever the configuration says; but data that migrates forward does so
    /// for a caller who wants a rollback, too.
    pub fn ask_for_rollback(&mut self, rollback: bool) {
        let own = self.units.values_mut().filter_map(|own| own.rollback.as_mut());
        for now in own.chain([&mut self.rollback]) {
            *now = match (rollback, *now) {
                (true, Rollback::Never) => Rollback::Never,
                (true, _) => Rollback::Back,
                (false, _) => Rollback::Leave,
            };
        }
    }

    fn rollback(&self, unit: &UnitName) -> Rollback {
        self.units.get(unit).and_then(|own| own.rollback).unwrap_or(self.rollback)
    }

    /// How long `unit` may take to start on another image.
    pub(super) fn start_timeout(&self, unit: &UnitName) -> Option<Duration> {
        self.units.get(unit)?.start_timeout
    }

    /// For each step of a rollout, whether its failure goes back.
    pub(super) fn rollbacks(&self, rollout: &Rollout) -> Vec<bool> {
        let steps = rollout.steps.iter();
        steps.map(|step| self.rollback(&step.unit) == Rollback::Back).collect()
    }

    /// Marks the units of `rollout` that are never given their old image. A tag takes all others
    /// along.
    pub(super) fn mark_forward_only(&self, rollout: &mut Rollout) {
        let never = |step: &Step| self.rollback(&step.unit) == Rollback::Never;
        let tags: Vec<bool> = rollout
            .aims()
            .enumerate()
            .map(|(goal, aim)| {
                let mut own = rollout.steps.iter().filter(|step| step.goal == goal);
                !aim.engine.has_bindings() && own.any(never)
            })
            .collect();
        for step in &mut rollout.steps {
            step.forward_only = never(step) || tags.get(step.goal) == Some(&true);
        }
    }
}
