//! How every container stands: the inventory joined with what the ledger knows. Pure.

use std::collections::BTreeSet;

use super::api::{Running, Standing, UnitStatus};
use crate::model::{Container, Failure, Policy, Reference, UnitName};
use crate::plan::{Memory, Reason};
use crate::update::port::InFlight;
use crate::update::{Entry, OutcomeKind};

/// What the ledger knows.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) memory: &'a Memory,
    pub(crate) in_flight: &'a [InFlight],
    /// Newest first.
    pub(crate) history: &'a [Entry],
}

/// One status for each container and each unit that lost its own, sorted by unit, then name;
/// those without a unit last.
pub(crate) fn statuses(containers: &[Container], known: &Known<'_>) -> Vec<UnitStatus> {
    let mut found: Vec<UnitStatus> =
        containers.iter().map(|container| status(container, known)).collect();
    found.extend(not_running(containers, known));
    let name = |status: &UnitStatus| status.running.as_ref().map(|on| on.container.clone());
    found.sort_by_cached_key(|status| (status.unit.is_none(), status.unit.clone(), name(status)));
    found
}

/// What an engine could not read.
pub(crate) fn unknown(problem: &Failure) -> UnitStatus {
    UnitStatus {
        unit: None,
        reference: None,
        running: None,
        standing: Standing::Unknown,
        detail: problem.to_string(),
        last: None,
    }
}

/// The units whose last update left nothing running, and that nobody has mended since: no
/// inventory has them, and they are the ones that need somebody.
pub(crate) fn not_running(containers: &[Container], known: &Known<'_>) -> Vec<UnitStatus> {
    let mut seen = BTreeSet::new();
    let left_nothing = |entry: &&Entry| {
        let outcome = &entry.outcome;
        let bad = matches!(outcome.result, OutcomeKind::NeedsOperator | OutcomeKind::Failed)
            && !outcome.restored;
        // A unit that was given another reference meanwhile is a mended one too.
        let runs = |container: &Container| {
            container.unit.as_ref() == Some(&outcome.unit)
                && (container.source.reference == outcome.reference
                    || container.created > entry.ended)
        };
        bad && !containers.iter().any(runs)
            && known.flight(&outcome.unit, &outcome.reference).is_none()
    };
    let newest = known
        .history
        .iter()
        .filter(|entry| seen.insert((&entry.outcome.unit, &entry.outcome.reference)));
    let gone = newest.filter(left_nothing);
    gone.map(|entry| UnitStatus {
        unit: Some(entry.outcome.unit.clone()),
        reference: Some(entry.outcome.reference.clone()),
        running: None,
        standing: Standing::NeedsOperator,
        detail: entry.outcome.detail.clone(),
        last: Some(entry.clone()),
    })
    .collect()
}

impl<'a> Known<'a> {
    /// The rollout that is under way for a unit.
    fn flight(&self, unit: &UnitName, reference: &Reference) -> Option<&'a InFlight> {
        self.in_flight.iter().find(|flight| flight.rollout.step(unit, reference).is_some())
    }
}

fn status(container: &Container, known: &Known<'_>) -> UnitStatus {
    let last = known.history.iter().find(|entry| {
        Some(&entry.outcome.unit) == container.unit.as_ref()
            && entry.outcome.reference == container.source.reference
    });
    let (standing, detail) = standing(container, known, last);
    UnitStatus {
        unit: container.unit.clone(),
        reference: Some(container.source.reference.clone()),
        running: Some(Running {
            container: container.name.clone(),
            engine: container.engine,
            policy: match &container.policy {
                Ok(policy) => policy.to_string(),
                Err(invalid) => invalid.0.clone(),
            },
            image: container.image.manifest.clone(),
        }),
        standing,
        detail,
        last: last.cloned(),
    }
}

fn standing(container: &Container, known: &Known<'_>, last: Option<&Entry>) -> (Standing, String) {
    let policy = match &container.policy {
        Err(invalid) => return (Standing::InvalidPolicy, invalid.to_string()),
        Ok(policy) => *policy,
    };
    if policy == Policy::Disabled {
        return (Standing::Disabled, String::new());
    }
    let Some(unit) = &container.unit else {
        let unowned = || Reason::NoUnit { claimed: container.claimed.clone() };
        let guest = |unit: &UnitName| Reason::Guest { host: unit.clone() };
        let reason = container.guest_of.as_ref().map_or_else(unowned, guest);
        return (Standing::NoUnit, reason.to_string());
    };
    if policy == Policy::Registry && container.source.reference.digest().is_some() {
        return (Standing::Pinned, String::new());
    }
    let reference = &container.source.reference;
    let step = known.flight(unit, reference).map(|flight| &flight.rollout);
    if let Some((rollout, step)) = step.and_then(|it| Some((it, it.step(unit, reference)?))) {
        return (Standing::Updating, format!("to {}", rollout.aim(step).new.manifest.short()));
    }
    // An outcome says something about now only while the unit still runs what it left behind.
    let current = |entry: &&Entry| match entry.outcome.result {
        OutcomeKind::RolledBack => entry.outcome.old == container.image.manifest,
        OutcomeKind::NeedsOperator => container.created <= entry.ended,
        _ => false,
    };
    match last.filter(current) {
        Some(entry) if entry.outcome.result == OutcomeKind::NeedsOperator => {
            (Standing::NeedsOperator, entry.outcome.detail.clone())
        }
        Some(entry) => (
            Standing::RolledBack,
            format!("{}: {}", entry.outcome.new.short(), entry.outcome.detail),
        ),
        None => match known.memory.backoff(&container.source) {
            Some(backoff) => (Standing::CheckFailing, backoff.failure.message.clone()),
            None => (Standing::Followed, String::new()),
        },
    }
}

#[cfg(test)]
mod tests;
