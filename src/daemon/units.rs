//! How every container stands: the inventory joined with what the ledger knows. Pure.

use super::api::{Standing, UnitStatus};
use crate::model::{Container, Policy};
use crate::plan::Memory;
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

/// One status for each container, sorted by unit, then name; those without a unit last.
pub(crate) fn statuses(containers: &[Container], known: &Known<'_>) -> Vec<UnitStatus> {
    let mut found: Vec<UnitStatus> =
        containers.iter().map(|container| status(container, known)).collect();
    found.sort_by(|a, b| {
        let key = |s: &UnitStatus| (s.unit.is_none(), s.unit.clone(), s.container.clone());
        key(a).cmp(&key(b))
    });
    found
}

fn status(container: &Container, known: &Known<'_>) -> UnitStatus {
    let last = known.history.iter().find(|entry| {
        Some(&entry.outcome.unit) == container.unit.as_ref()
            && entry.outcome.reference == container.source.reference
    });
    let (standing, detail) = standing(container, known, last);
    UnitStatus {
        unit: container.unit.clone(),
        container: container.name.clone(),
        engine: container.engine,
        policy: match &container.policy {
            Ok(policy) => policy.to_string(),
            Err(invalid) => invalid.0.clone(),
        },
        reference: container.source.reference.clone(),
        image: container.image.manifest.clone(),
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
        return (Standing::NoUnit, "no systemd unit owns this container".into());
    };
    if policy == Policy::Registry && container.source.reference.digest().is_some() {
        return (Standing::Pinned, String::new());
    }
    let reference = &container.source.reference;
    let flight = known.in_flight.iter().find(|flight| {
        flight.rollout.reference() == reference
            && flight.rollout.steps.iter().any(|step| &step.unit == unit)
    });
    if let Some(flight) = flight {
        return (Standing::Updating, format!("to {}", flight.rollout.new.manifest.short()));
    }
    // An outcome says something about now only while the unit still runs what it left behind.
    let current = |entry: &&Entry| match entry.outcome.result {
        OutcomeKind::RolledBack => entry.outcome.old == container.image.manifest,
        OutcomeKind::NeedsOperator => true,
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
