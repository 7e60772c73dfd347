//! From what was found to what shall be done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::gate::{Gates, allow_pulls, describe};
use super::group::{Groups, Judged, gather, hold, set_beside};
use super::probation::{self, Probation};
use super::rollout::goal::Aim;
use super::rollout::{Along, Rollout, Step};
use super::sharer::sharers;
use super::{Budget, PutOffs, Quarantine, Reason, Sharer};
use crate::model::{
    Asker, Bystander, Container, ContainerId, Digest, EngineKind, Failure, ImageIdentity,
    ImageSource, Policy, Reference, UnitName,
};

/// What the check found for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Available {
    /// The image its reference stands for now, for the container's platform.
    Image(ImageIdentity),
    /// Local storage has no image of that name.
    NotInStorage,
    Failed(Failure),
    /// Not asked: earlier checks failed.
    CoolingDown {
        until: Timestamp,
        failure: Failure,
    },
    /// Not looked at, or not to be pulled.
    BudgetSpent(Spent),
}

/// A host whose pulls are spent, but for those kept back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    pub registry: String,
    pub budget: Budget,
}

/// All that the plan depends on.
#[derive(Debug)]
pub struct Input<'a> {
    pub containers: &'a [Container],
    pub bystanders: &'a [Bystander],
    /// For each container that was checked.
    pub available: &'a BTreeMap<ContainerId, Available>,
    pub quarantine: &'a Quarantine,
    pub groups: &'a Groups,
    /// What waits, where no person asks.
    pub put_offs: &'a PutOffs,
    pub gates: &'a Gates,
    /// What units are to prove by their next run.
    pub probations: &'a [Probation],
    /// The units to be updated; empty means all.
    pub selection: &'a [UnitName],
    pub now: Timestamp,
}

/// What one pass is about to do, and what it leaves alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub made_at: Timestamp,
    pub rollouts: Vec<Rollout>,
    pub skipped: Vec<Skipped>,
    /// What is pulled for units that are skipped, because something else keeps them from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub staging: Vec<Staging>,
    /// What the engines could not read.
    #[serde(default)]
    pub problems: Vec<Failure>,
    /// What an operator should know, and nothing is wrong with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Sharer>,
    /// The same, of containers whose failed update could not be taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asking: Vec<Asker>,
}

/// A container that is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub unit: Option<UnitName>,
    pub container: String,
    pub reference: Reference,
    pub image: ImageIdentity,
    #[serde(flatten)]
    pub reason: Reason,
}

/// An image that is pulled before a unit may have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    pub source: ImageSource,
    pub engine: EngineKind,
    pub policy: Policy,
    pub image: ImageIdentity,
}

impl Staging {
    pub(crate) fn aim(&self) -> Aim<'_> {
        let Self { source, engine, policy, image } = self;
        Aim { source, engine: *engine, policy: *policy, new: image, moves_tag: false, settled: &[] }
    }
}

/// Whether a container's policy and reference call for a question to a registry or to storage.
pub fn wants_check(container: &Container) -> Option<Policy> {
    let pinned = container.source.reference.digest().is_some();
    match (&container.policy, &container.unit) {
        (Ok(policy @ (Policy::Registry | Policy::Local)), Some(_)) if !pinned => Some(*policy),
        _ => None,
    }
}

/// Makes the plan. Units that share an image reference and would get the same image are one
/// rollout, sorted by name; its first unit is the canary. Those of a group are one with all their
/// images.
pub fn decide(input: &Input<'_>) -> Plan {
    let unselected = |container: &Container| {
        let unselected = |unit: &UnitName| !input.selection.contains(unit);
        !input.selection.is_empty() && container.unit.as_ref().is_none_or(unselected)
    };
    let chosen = input.containers.iter().filter(|container| !unselected(container));
    let mut judged: Vec<Judged<'_>> =
        chosen.map(|container| (container, judge(container, input))).collect();
    hold(&mut judged, input.groups, input.quarantine);
    let mut candidates: BTreeMap<(EngineKind, Reference), Vec<(&Container, &ImageIdentity)>> =
        BTreeMap::new();
    let mut skipped = Vec::new();
    for (container, verdict) in &judged {
        match verdict {
            Ok(image) => {
                let key = (container.engine, container.source.reference.clone());
                candidates.entry(key).or_default().push((container, image));
            }
            Err(reason) => skipped.push(Skipped {
                unit: container.unit.clone(),
                container: container.name.clone(),
                reference: container.source.reference.clone(),
                image: container.image.clone(),
                reason: reason.clone(),
            }),
        }
    }
    let staging = staging(&judged, input);
    skipped.sort_by(|a, b| (&a.unit, &a.container).cmp(&(&b.unit, &b.container)));
    let rollouts: Vec<Rollout> =
        candidates.into_values().flat_map(|found| rollouts(found, input)).collect();
    let mut rollouts = gather(rollouts);
    rollouts.iter_mut().for_each(|rollout| set_beside(rollout, &judged, input.groups));
    join(&mut rollouts);
    let warnings = sharers(input);
    Plan {
        made_at: input.now,
        rollouts,
        skipped,
        staging,
        problems: Vec::new(),
        warnings,
        asking: Vec::new(),
    }
}

/// The image that `container` shall get, or why it shall get none.
fn judge<'a>(container: &Container, input: &Input<'a>) -> Result<&'a ImageIdentity, Reason> {
    match &container.policy {
        Err(error) => return Err(Reason::InvalidPolicy { message: error.to_string() }),
        Ok(Policy::Disabled) => return Err(Reason::Disabled),
        Ok(Policy::Registry | Policy::Local) => {}
    }
    match (&container.unit, &container.guest_of) {
        (Some(_), _) => {}
        (None, Some(unit)) => return Err(Reason::Guest { host: unit.clone() }),
        (None, None) => {
            return Err(Reason::NoUnit { claimed: container.claimed.clone() });
        }
    }
    if wants_check(container).is_none() {
        return Err(Reason::Pinned);
    }
    let image = match input.available.get(&container.id) {
        Some(Available::Image(image)) => image,
        Some(Available::NotInStorage) => return Err(Reason::NotInStorage),
        Some(Available::Failed(failure)) => {
            return Err(Reason::CheckFailed { failure: failure.clone() });
        }
        Some(Available::CoolingDown { until, failure }) => {
            return Err(Reason::CoolingDown { until: *until, failure: failure.clone() });
        }
        Some(Available::BudgetSpent(Spent { registry, budget })) => {
            return Err(Reason::BudgetSpent {
                registry: registry.clone(),
                remaining: budget.remaining,
                limit: budget.limit,
                until: budget.renewed(),
            });
        }
        None => return Err(Reason::UpToDate),
    };
    if let Some(held) = on_probation(container, input)
        && (held.new.manifest == image.manifest || held.runs_it(container, image))
    {
        let (manifest, since) = (held.new.manifest.clone(), held.since);
        return Err(Reason::OnProbation { manifest, since });
    }
    if container.runs(&image.manifest) {
        return Err(Reason::UpToDate);
    }
    let unit = container.unit.as_ref();
    if let Some(message) = input.groups.fault(unit) {
        return Err(Reason::InvalidGroup { message: message.to_owned() });
    }
    let (reference, quarantine) = (&container.source.reference, input.quarantine);
    let held = match input.groups.of(unit) {
        Some(_) => quarantine.find_anywhere(reference, &image.manifest),
        None => quarantine.find(reference, &image.manifest),
    };
    if let Some(held) = held {
        let (manifest, cause) = (held.manifest.clone(), held.cause.clone());
        return Err(Reason::Quarantined { manifest, since: held.since, cause });
    }
    if let Some(held) = input.put_offs.find(reference, &image.manifest, input.now) {
        let (manifest, cause) = (held.manifest.clone(), held.cause.clone());
        return Err(Reason::PutOff { manifest, until: held.until, cause });
    }
    match gated(container, image, input) {
        Some(reason) => Err(reason),
        None => Ok(image),
    }
}

/// What keeps the container's unit from the image; where it has only a tag, also what keeps others from
/// it that follow the same.
fn gated(container: &Container, image: &ImageIdentity, input: &Input<'_>) -> Option<Reason> {
    let (reference, manifest) = (&container.source.reference, &image.manifest);
    let gates = |unit: &UnitName| input.gates.of(unit, reference, manifest, input.now);
    let own = gates(container.unit.as_ref()?);
    if !own.is_empty() {
        return Some(Reason::Gated { manifest: manifest.clone(), gates: own, staged: false });
    }
    let others = watched(container.engine, reference, manifest, input.containers);
    others.into_iter().find_map(|other| {
        let gates = gates(&other);
        let why = describe(&gates);
        (!gates.is_empty()).then_some(Reason::WaitsForUnit { other: Some(other), why })
    })
}

/// The units that get an image with any other of their engine that does: where that has only a tag.
pub fn watched(
    engine: EngineKind,
    reference: &Reference,
    manifest: &Digest,
    containers: &[Container],
) -> BTreeSet<UnitName> {
    let follows = |container: &&Container| {
        let place = (container.engine, &container.source.reference) == (engine, reference);
        place && wants_check(container).is_some() && !container.runs(manifest)
    };
    let all = containers.iter().filter(|_| !engine.has_bindings()).filter(follows);
    all.filter_map(|container| container.unit.clone()).collect()
}

/// What is pulled for those that wait, each image once.
fn staging(judged: &[Judged<'_>], input: &Input<'_>) -> Vec<Staging> {
    let mut found: Vec<Staging> = Vec::new();
    for (container, verdict) in judged {
        let (Err(Reason::Gated { gates, .. }), Some(Available::Image(image)), Ok(policy)) =
            (verdict, input.available.get(&container.id), &container.policy)
        else {
            continue;
        };
        let staging = Staging {
            source: container.source.clone(),
            engine: container.engine,
            policy: *policy,
            image: image.clone(),
        };
        if allow_pulls(gates) && !found.contains(&staging) {
            found.push(staging);
        }
    }
    found
}

/// What the container's unit is to prove yet for its reference.
fn on_probation<'a>(container: &Container, input: &Input<'a>) -> Option<&'a Probation> {
    let unit = container.unit.as_ref()?;
    probation::find(input.probations, container.engine, unit, &container.source.reference)
}

/// What comes back if the new image fails: what runs, unless that has still to be verified.
fn fallback(container: &Container, input: &Input<'_>) -> ImageIdentity {
    match on_probation(container, input).filter(|held| container.runs(&held.new.manifest)) {
        Some(held) => held.old.clone(),
        None => container.image.clone(),
    }
}

/// One rollout for each image that the containers of one reference shall get: more than one only
/// where they run for different platforms.
fn rollouts(found: Vec<(&Container, &ImageIdentity)>, input: &Input<'_>) -> Vec<Rollout> {
    let mut by_image: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (container, image) in found {
        by_image.entry(&image.manifest).or_default().push((container, image));
    }
    let mut found = Vec::new();
    for members in by_image.into_values() {
        let Some((first, image)) = members.first() else { continue };
        let mut steps: BTreeMap<&UnitName, Step> = BTreeMap::new();
        for (container, _) in &members {
            let Some(unit) = &container.unit else { continue };
            let step = steps.entry(unit).or_insert_with(|| Step {
                group: input.groups.of(Some(unit)).cloned(),
                ..Step::alone(unit.clone(), Vec::new(), fallback(container, input))
            });
            step.containers.push(container.name.clone());
        }
        let place = (first.engine, &first.source.reference);
        found.push(Rollout {
            source: first.source.clone(),
            engine: first.engine,
            policy: first.policy.clone().unwrap_or(Policy::Registry),
            new: (*image).clone(),
            moves_tag: covers_all(place, &image.manifest, &steps, input),
            settled: already_there(place, &image.manifest, input),
            with: vec![],
            steps: steps.into_values().collect(),
        });
    }
    found
}

/// A unit with new images of several references, such as a pod, is restarted once, for all of them:
/// with the first of its rollouts.
pub(super) fn join(rollouts: &mut [Rollout]) {
    let mut of_unit: BTreeMap<(EngineKind, UnitName), Vec<(usize, usize)>> = BTreeMap::new();
    for (at, rollout) in rollouts.iter().enumerate() {
        for (number, step) in rollout.steps.iter().enumerate() {
            let key = (rollout.aim(step).engine, step.unit.clone());
            of_unit.entry(key).or_default().push((at, number));
        }
    }
    for places in of_unit.into_values() {
        let [(first, number), others @ ..] = &places[..] else { continue };
        // Those of the same rollout go together anyway.
        let later = || others.iter().filter(|(at, _)| at != first);
        for (at, number) in later() {
            rollouts[*at].steps[*number].led = true;
        }
        let along = later().map(|(at, number)| {
            let step = &rollouts[*at].steps[*number];
            let aim = rollouts[*at].aim(step);
            Along { source: aim.source.clone(), old: step.old.clone(), new: aim.new.clone() }
        });
        rollouts[*first].steps[*number].along = along.collect();
    }
}

/// The engine's containers on `reference`, whatever their policy.
fn on<'a>(
    (engine, reference): (EngineKind, &Reference),
    input: &Input<'a>,
) -> impl Iterator<Item = &'a Container> {
    input.containers.iter().filter(move |container| {
        container.engine == engine && &container.source.reference == reference
    })
}

/// Units on `reference` that run the new image already, as an earlier pass that left the tag alone
/// leaves them.
fn already_there(
    place: (EngineKind, &Reference),
    new: &Digest,
    input: &Input<'_>,
) -> Vec<UnitName> {
    let mut units: Vec<UnitName> = on(place, input)
        .filter(|container| container.runs(new))
        .filter_map(|container| container.unit.clone())
        .collect();
    units.sort();
    units.dedup();
    units
}

/// Whether every container on `reference` takes part or is there already: only then does the tag
/// move at the end.
fn covers_all(
    place: (EngineKind, &Reference),
    new: &Digest,
    steps: &BTreeMap<&UnitName, Step>,
    input: &Input<'_>,
) -> bool {
    on(place, input).all(|container| {
        let takes_part = container.unit.as_ref().is_some_and(|unit| steps.contains_key(unit));
        takes_part || container.runs(new)
    })
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
