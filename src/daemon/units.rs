//! How every container stands: the inventory joined with what the ledger knows. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::api::{Running, Standing, UnitStatus};
use crate::model::{Container, Failure, ImageSource, Policy, Reference, UnitName};
use crate::plan::gate::describe;
use crate::plan::probation::{self, Probation};
use crate::plan::{Backoff, Gate, Gates, Memory, Reason};
use crate::update::port::InFlight;
use crate::update::{Entry, Hosts, OutcomeKind};

/// What the ledger knows.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) memory: &'a Memory,
    pub(crate) gates: &'a Gates,
    pub(crate) now: Timestamp,
    /// Where each image is asked for.
    pub(crate) hosts: &'a Hosts,
    pub(crate) in_flight: &'a [InFlight],
    pub(crate) probations: &'a [Probation],
    /// Newest first.
    pub(crate) history: &'a [Entry],
}

impl Known<'_> {
    /// The failure of the last check of an image, or of its registry's host.
    fn failing(&self, source: &ImageSource) -> Option<&Backoff> {
        let host = self.hosts.of(source);
        let of_host = host.and_then(|host| self.memory.registries.backoff(host));
        of_host.or_else(|| self.memory.backoff(source))
    }
}

/// One status for each container, and each unit that lost its own or is at rest on probation, sorted by unit, then name;
/// those without a unit last.
pub(crate) fn statuses(containers: &[Container], known: &Known<'_>) -> Vec<UnitStatus> {
    let mut found: Vec<UnitStatus> =
        containers.iter().map(|container| status(container, known)).collect();
    found.extend(not_running(containers, known));
    found.extend(waiting(containers, known));
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
        gates: vec![],
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
        let held = known.probations.iter().any(|held| held.unit == outcome.unit);
        bad && !held
            && !containers.iter().any(runs)
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
        gates: vec![],
        detail: entry.outcome.detail.clone(),
        last: Some(entry.clone()),
    })
    .collect()
}

/// The units at rest whose next run is to prove what they were given.
pub(crate) fn waiting(containers: &[Container], known: &Known<'_>) -> Vec<UnitStatus> {
    let at_rest = |held: &&Probation| {
        !containers.iter().any(|container| {
            container
                .unit
                .as_ref()
                .is_some_and(|unit| held.is_of(container.engine, unit, &container.source.reference))
        })
    };
    let status = |held: &Probation| UnitStatus {
        unit: Some(held.unit.clone()),
        reference: Some(held.reference().clone()),
        running: None,
        standing: Standing::OnProbation,
        gates: vec![],
        detail: proving(held),
        last: known.last(&held.unit, held.reference()).cloned(),
    };
    known.probations.iter().filter(at_rest).map(status).collect()
}

/// What is on probation, and what stands by.
fn proving(held: &Probation) -> String {
    let (old, new) = (held.old.manifest.short(), held.new.manifest.short());
    match held.rollback && !held.forward_only {
        true => format!("with {new}; where that run fails, {old} comes back"),
        false => format!("with {new}, which it keeps"),
    }
}

impl<'a> Known<'a> {
    fn last(&self, unit: &UnitName, reference: &Reference) -> Option<&'a Entry> {
        let own =
            |entry: &&Entry| &entry.outcome.unit == unit && &entry.outcome.reference == reference;
        self.history.iter().find(own)
    }

    /// What keeps the container's unit from what is there for it, as far as that is known, or would.
    fn gates(&self, container: &Container) -> Vec<Gate> {
        let waiting = self.gates.waiting(container, self.now).into_iter();
        let hold = container.unit.as_ref().and_then(|unit| self.gates.hold(unit, self.now));
        waiting.map(|(_, gates)| gates).next().unwrap_or_else(|| hold.into_iter().collect())
    }

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
            authfile: container.source.authfile.clone(),
        }),
        standing,
        gates: known.gates(container),
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
    let reference = &container.source.reference;
    if let Some(held) = probation::find(known.probations, container.engine, unit, reference) {
        return (Standing::OnProbation, proving(held));
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
        None => match known.failing(&container.source) {
            Some(backoff) => (Standing::CheckFailing, backoff.failure.message.clone()),
            None => waiting_for(&known.gates(container)),
        },
    }
}

/// How a unit stands of which there is nothing worse to tell.
fn waiting_for(gates: &[Gate]) -> (Standing, String) {
    match gates {
        [] => (Standing::Followed, String::new()),
        gates if gates.iter().any(|gate| matches!(gate, Gate::Hold { .. })) => {
            (Standing::Held, describe(gates))
        }
        gates => (Standing::Waiting, describe(gates)),
    }
}

#[cfg(test)]
mod tests;
