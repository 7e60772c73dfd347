//! Units that go together: which group each is of, what holds a group up, and the rollouts of a
//! group's images, which become one.

use std::collections::{BTreeMap, BTreeSet};

use super::Reason;
use super::quarantine::{Beside, Company, Quarantine};
use super::rollout::crew::crew;
use super::rollout::goal::Goal;
use super::rollout::{Rollout, Step};
use crate::model::{Container, Group, ImageIdentity, UnitName};

/// What a container shall get, or why it is left as it is.
pub(super) type Judged<'a> = (&'a Container, Result<&'a ImageIdentity, Reason>);

/// The group of each unit that has one, or why that cannot be told.
#[derive(Debug, Default)]
pub struct Groups(BTreeMap<UnitName, Result<Group, String>>);

impl Groups {
    /// As the configuration says, and for the other units as the labels of their containers do.
    pub fn new(configured: &BTreeMap<UnitName, Group>, containers: &[Container]) -> Self {
        let mut found = BTreeMap::new();
        for container in containers {
            let (Some(unit), Some(label)) = (&container.unit, &container.group) else { continue };
            let group = label.parse::<Group>().map_err(|error| error.to_string());
            let known = found.entry(unit.clone()).or_insert_with(|| group.clone());
            if let (Ok(one), Ok(other)) = (&*known, &group)
                && one != other
            {
                let message = format!("its containers name two groups, {one} and {other}");
                *known = Err(message);
            }
        }
        found.extend(configured.iter().map(|(unit, group)| (unit.clone(), Ok(group.clone()))));
        Self(found)
    }

    pub fn of(&self, unit: Option<&UnitName>) -> Option<&Group> {
        self.0.get(unit?)?.as_ref().ok()
    }

    /// Why it cannot be told which group a unit is of.
    pub(super) fn fault(&self, unit: Option<&UnitName>) -> Option<&str> {
        self.0.get(unit?)?.as_ref().err().map(String::as_str)
    }

    /// `selection`, and the rest of the groups that its units are of; empty stays empty, which is all.
    pub fn complete(&self, selection: &[UnitName]) -> Vec<UnitName> {
        let chosen: BTreeSet<&Group> =
            selection.iter().filter_map(|unit| self.of(Some(unit))).collect();
        let of_chosen =
            |unit: &&UnitName| self.of(Some(unit)).is_some_and(|it| chosen.contains(it));
        let rest = self.0.keys().filter(of_chosen).filter(|unit| !selection.contains(unit));
        selection.iter().chain(rest).cloned().collect()
    }
}

/// Those whose images may have failed together: all of a group, or all of a unit without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fellows<'a> {
    Group(&'a Group),
    Unit(&'a UnitName),
}

impl<'a> Fellows<'a> {
    fn of(container: &'a Container, groups: &'a Groups) -> Option<Self> {
        let unit = container.unit.as_ref()?;
        Some(groups.of(Some(unit)).map_or(Self::Unit(unit), Self::Group))
    }

    fn group(self) -> Option<&'a Group> {
        match self {
            Self::Group(group) => Some(group),
            Self::Unit(_) => None,
        }
    }
}

/// Holds those back that cannot go because of their group: one of it could not be checked, is put
/// off or has to wait; or because exactly these images failed together before.
pub(super) fn hold<'a>(judged: &mut [Judged<'a>], groups: &'a Groups, quarantine: &Quarantine) {
    let mut all: BTreeMap<Fellows<'a>, Vec<usize>> = BTreeMap::new();
    for (at, (container, _)) in judged.iter().enumerate() {
        if let Some(fellows) = Fellows::of(container, groups) {
            all.entry(fellows).or_default().push(at);
        }
    }
    let mut held: BTreeMap<usize, Reason> = BTreeMap::new();
    for (fellows, places) in all {
        let members = || places.iter().map(|at| &judged[*at]);
        let reason = fellows
            .group()
            .and_then(|group| unchecked(group, members()))
            .or_else(|| failed_before(fellows, &company(members()), quarantine));
        held.extend(
            reason.into_iter().flat_map(|why| places.iter().map(move |at| (*at, why.clone()))),
        );
    }
    hold_along(judged, groups, &mut held);
    for (at, reason) in held {
        let (_, verdict) = &mut judged[at];
        if verdict.is_ok() {
            *verdict = Err(reason);
        }
    }
}

/// Where a unit is held back, its whole group is, and where it has only a tag all that follow it.
fn hold_along(judged: &[Judged<'_>], groups: &Groups, held: &mut BTreeMap<usize, Reason>) {
    let group = |container: &Container| groups.of(container.unit.as_ref());
    let bound = |one: &Container, other: &Container| {
        let tag = one.engine == other.engine && one.source.reference == other.source.reference;
        let grouped = group(one).is_some() && group(one) == group(other);
        grouped || (tag && !one.engine.has_bindings())
    };
    loop {
        let mut open =
            (0..judged.len()).filter(|at| judged[*at].1.is_ok() && !held.contains_key(at));
        let next = open.find_map(|at| {
            let holds = |place: &&usize| {
                judged[**place].1.is_ok() && bound(judged[at].0, judged[**place].0)
            };
            held.keys().find(holds).map(|place| (at, *place))
        });
        let Some((at, holder)) = next else { return };
        let reason = Reason::WaitsForUnit {
            other: judged[holder].0.unit.clone(),
            why: held[&holder].to_string(),
        };
        held.insert(at, reason);
    }
}

/// What comes later is not to be gone ahead of.
fn unchecked<'a>(
    group: &Group,
    mut members: impl Iterator<Item = &'a Judged<'a>>,
) -> Option<Reason> {
    let open = |reason: &Reason| {
        matches!(
            reason,
            Reason::CheckFailed { .. }
                | Reason::CoolingDown { .. }
                | Reason::PutOff { .. }
                | Reason::Gated { .. }
                | Reason::WaitsForUnit { .. }
                | Reason::BudgetSpent { .. }
        )
    };
    members.find_map(|(container, verdict)| {
        let reason = verdict.as_ref().err().filter(|reason| open(reason))?;
        let (other, why) = (container.unit.clone(), reason.to_string());
        Some(Reason::GroupWaits { group: group.clone(), other, why })
    })
}

fn failed_before(
    fellows: Fellows<'_>,
    company: &Company,
    quarantine: &Quarantine,
) -> Option<Reason> {
    let held = quarantine.find_company(company)?;
    Some(Reason::FailedTogether {
        group: fellows.group().cloned(),
        failed: held.unit.clone(),
        manifest: held.manifest.clone(),
        since: held.since,
        cause: held.cause.clone(),
    })
}

/// The images that the members have when those that get one have got it.
fn company<'a>(members: impl Iterator<Item = &'a Judged<'a>>) -> Company {
    members.map(|one| (one.0.source.reference.name(), then(one).manifest.clone())).collect()
}

fn then<'a>((container, verdict): &'a Judged<'_>) -> &'a ImageIdentity {
    match verdict {
        Ok(image) => image,
        Err(_) => &container.image,
    }
}

/// Writes down with each step what its fellows have then. A unit without a group has some where its
/// images came into one rollout by the groups of others: it gets them at once, and none is tried alone.
pub(super) fn set_beside(rollout: &mut Rollout, judged: &[Judged<'_>], groups: &Groups) {
    let beside = |(at, step): (usize, &Step)| match &step.group {
        Some(group) => beside(rollout, step, Fellows::Group(group), judged, groups),
        None if crew(rollout, at).count() > 1 => {
            beside(rollout, step, Fellows::Unit(&step.unit), judged, groups)
        }
        None => vec![],
    };
    let all: Vec<_> = rollout.steps.iter().enumerate().map(beside).collect();
    for (step, beside) in rollout.steps.iter_mut().zip(all) {
        step.beside = beside;
    }
}

fn beside(
    rollout: &Rollout,
    step: &Step,
    fellows: Fellows<'_>,
    judged: &[Judged<'_>],
    groups: &Groups,
) -> Vec<Beside> {
    let members = || judged.iter().filter(|(it, _)| Fellows::of(it, groups) == Some(fellows));
    let new = company(members().filter(|(_, verdict)| verdict.is_ok()));
    let aim = rollout.aim(step);
    let own = (aim.reference().name(), aim.new.manifest.clone());
    let others = company(members()).into_iter().filter(|other| other != &own);
    others.map(|of| Beside { new: new.contains(&of), repository: of.0, manifest: of.1 }).collect()
}

/// The rollouts that have units of one group become one.
pub(super) fn gather(rollouts: Vec<Rollout>) -> Vec<Rollout> {
    let mut gathered: Vec<Rollout> = Vec::new();
    for mut rollout in rollouts {
        let shared = |other: &Rollout, rollout: &Rollout| {
            let groups = |rollout: &Rollout| -> BTreeSet<Group> {
                rollout.steps.iter().filter_map(|step| step.group.clone()).collect()
            };
            !groups(other).is_disjoint(&groups(rollout))
        };
        let mut place = gathered.len();
        while let Some(at) = gathered.iter().position(|other| shared(other, &rollout)) {
            let mut first = gathered.remove(at);
            absorb(&mut first, rollout);
            (rollout, place) = (first, place.min(at));
        }
        gathered.insert(place.min(gathered.len()), rollout);
    }
    gathered
}

fn absorb(first: &mut Rollout, other: Rollout) {
    let before = first.with.len() + 1;
    let Rollout { source, engine, policy, new, moves_tag, settled, with, steps } = other;
    first.with.push(Goal { source, engine, policy, new, moves_tag, settled });
    first.with.extend(with);
    for mut step in steps {
        step.goal += before;
        first.steps.push(step);
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
