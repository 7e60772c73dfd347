//! Going back by hand: from what units run, what they ran, and what is in storage, to rollouts of
//! the images that they had ([decision 19](../../docs/decisions/0019-by-hand.md)).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::back_refusal::{Refusal, Stock};
use super::decide::join;
use super::rollout::{Rollout, Step};
use crate::model::{
    Bystander, Container, Digest, EngineKind, ImageIdentity, ImageSource, Policy, Reference,
    UnitName,
};

/// An end of an update, as the history has it, after which the unit may have run another image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    pub unit: UnitName,
    pub reference: Reference,
    /// `None` where the history does not say.
    pub engine: Option<EngineKind>,
    pub old: Digest,
    pub new: Digest,
    pub ended: Timestamp,
    /// The pass that it was of, where the history says so.
    pub pass: Option<Timestamp>,
    /// Whether an operator had the unit go back.
    pub reverted: bool,
}

/// One unit on one reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'a> {
    pub unit: &'a UnitName,
    pub reference: &'a Reference,
    /// The unit's containers on the reference.
    pub running: Vec<&'a Container>,
    /// Newest first.
    pub past: Vec<&'a Past>,
}

/// What of a place is in storage: images that the unit can be given without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<'a> {
    pub place: Place<'a>,
    pub engine: EngineKind,
    pub images: Vec<ImageIdentity>,
}

/// What an operator asked for, and what runs.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub units: &'a [UnitName],
    /// The digest to go back to, or its beginning; `None` is what each unit ran before its last
    /// update.
    pub to: Option<&'a str>,
    pub containers: &'a [Container],
    pub bystanders: &'a [Bystander],
}

/// The way back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WayBack {
    pub rollouts: Vec<Rollout>,
    /// For each rollout, the images that are left by it.
    pub undone: Vec<Vec<Digest>>,
    /// What an operator should know of whom else it concerns.
    pub warnings: Vec<String>,
}

/// One place that goes back, and where to.
struct Pick<'a> {
    stored: &'a Stored<'a>,
    image: &'a ImageIdentity,
}

impl Place<'_> {
    /// Whose it is; `None` where nothing runs and the history does not say.
    pub fn engine(&self) -> Option<EngineKind> {
        let running = self.running.first().map(|container| container.engine);
        running.or_else(|| self.past.first().and_then(|past| past.engine))
    }

    /// The images that the unit had there.
    pub fn known(&self) -> Vec<Digest> {
        let all = self.past.iter().flat_map(|past| [&past.new, &past.old]);
        all.collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }

    /// How the unit came to what it runs there; where nothing runs, to what it shall run.
    fn last(&self) -> Option<&Past> {
        let brought = |past: &&&Past| {
            self.running.is_empty() || self.running.iter().any(|found| found.runs(&past.new))
        };
        self.past.iter().find(brought).copied()
    }

    /// The digests by which it is known what runs there: the history's, which are those that a
    /// registry has.
    fn runs(&self) -> Vec<Digest> {
        if let Some(last) = self.last() {
            return vec![last.new.clone()];
        }
        let of = |found: &&Container| {
            let own = found.digests.iter().cloned();
            own.chain([found.image.manifest.clone()]).collect::<Vec<_>>()
        };
        self.running.iter().flat_map(of).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The units' places, each with what runs there and what did. A reference that a unit's history
/// knows and none of its containers has counts as well: a container that ended is the one that is
/// to go back.
pub fn places<'a>(
    units: &'a [UnitName],
    containers: &'a [Container],
    past: &'a [Past],
) -> Vec<Place<'a>> {
    let mut found: BTreeMap<(&UnitName, &Reference), Place<'a>> = BTreeMap::new();
    let fresh = |unit, reference| Place { unit, reference, running: vec![], past: vec![] };
    for unit in units {
        let own = containers.iter().filter(|container| container.unit.as_ref() == Some(unit));
        for container in own {
            let reference = &container.source.reference;
            let place = found.entry((unit, reference)).or_insert_with(|| fresh(unit, reference));
            place.running.push(container);
        }
        for past in past.iter().filter(|past| &past.unit == unit) {
            let reference = &past.reference;
            let place = found.entry((unit, reference)).or_insert_with(|| fresh(unit, reference));
            place.past.push(past);
        }
    }
    found.into_values().collect()
}

/// Plans the way back for all units that were named, or none: what cannot be done for one of them is
/// done for nobody.
///
/// # Errors
/// Where a unit has nothing to go back to, or it is not clear what.
pub fn way_back(wish: Wish<'_>, stored: &[Stored<'_>]) -> Result<WayBack, Refusal> {
    let mut picks: BTreeMap<(EngineKind, &Reference), Vec<Pick<'_>>> = BTreeMap::new();
    for unit in wish.units {
        let all: Vec<&Stored<'_>> = stored.iter().filter(|at| at.place.unit == unit).collect();
        if all.is_empty() {
            return Err(Refusal::UnknownUnit { unit: unit.clone() });
        }
        let own: Vec<&Stored<'_>> = all.iter().copied().filter(|at| belongs(at, &all)).collect();
        let chosen = match wish.to {
            Some(to) => named(unit, to, &own)?,
            None => before_last_update(unit, &own)?,
        };
        for pick in chosen {
            let at = pick.stored;
            picks.entry((at.engine, at.place.reference)).or_default().push(pick);
        }
    }
    let mut way = WayBack::default();
    for (place, picks) in picks {
        for picks in by_image(place, picks)? {
            way.add(place, &picks, wish);
        }
    }
    join(&mut way.rollouts);
    Ok(way)
}

/// The images of one reference that are gone back to: one only where the tag is all there is.
fn by_image<'a>(
    (engine, reference): (EngineKind, &Reference),
    picks: Vec<Pick<'a>>,
) -> Result<Vec<Vec<Pick<'a>>>, Refusal> {
    let mut images: BTreeMap<&Digest, Vec<Pick<'_>>> = BTreeMap::new();
    for pick in picks {
        images.entry(&pick.image.manifest).or_default().push(pick);
    }
    if images.len() > 1 && !engine.has_bindings() {
        let images = images.into_keys().cloned().collect();
        return Err(Refusal::OneTag { reference: reference.to_string(), images });
    }
    Ok(images.into_values().collect())
}

/// The places that have the image which an operator named.
fn named<'a>(unit: &UnitName, to: &str, own: &[&'a Stored<'a>]) -> Result<Vec<Pick<'a>>, Refusal> {
    let digits = to.strip_prefix("sha256:").unwrap_or(to);
    let is_named = |image: &&ImageIdentity| image.manifest.hex().starts_with(digits);
    let mut picks = Vec::new();
    for stored in own {
        let named = stored.images.iter().filter(is_named);
        picks.extend(named.map(|image| Pick { stored, image }));
    }
    let images: BTreeSet<&Digest> = picks.iter().map(|pick| &pick.image.manifest).collect();
    let (to, unit) = (to.to_owned(), unit.clone());
    let Some(first) = images.first() else {
        return Err(Refusal::NoSuchImage { unit, to, stock: stock(own) });
    };
    if images.len() > 1 {
        let images = images.into_iter().cloned().collect();
        return Err(Refusal::Ambiguous { unit, to, images });
    }
    let image = (*first).clone();
    picks.retain(|pick| {
        let running = &pick.stored.place.running;
        running.is_empty() || running.iter().any(|found| !found.runs(&image))
    });
    if picks.is_empty() {
        return Err(Refusal::RunsAlready { unit, image, stock: stock(own) });
    }
    Ok(picks)
}

/// The places that the unit's last update changed, each with what ran there before.
fn before_last_update<'a>(
    unit: &UnitName,
    own: &[&'a Stored<'a>],
) -> Result<Vec<Pick<'a>>, Refusal> {
    let unit = unit.clone();
    let mut changes: Vec<(&'a Stored<'a>, &Past)> = Vec::new();
    for stored in own {
        changes.extend(stored.place.last().map(|past| (*stored, past)));
    }
    let Some((_, newest)) = changes.iter().max_by_key(|(_, past)| past.ended) else {
        return Err(Refusal::NoUpdate { unit, stock: stock(own) });
    };
    if newest.reverted {
        return Err(Refusal::RevertedAlready { unit, stock: stock(own) });
    }
    let of_the_same_pass = |past: &Past| {
        std::ptr::eq(past, *newest) || (past.pass.is_some() && past.pass == newest.pass)
    };
    let mut picks = Vec::new();
    for (stored, past) in changes.iter().filter(|(_, past)| of_the_same_pass(past)) {
        match stored.images.iter().find(|image| image.manifest == past.old) {
            Some(image) => picks.push(Pick { stored, image }),
            None => {
                let image = past.old.clone();
                return Err(Refusal::Gone { unit, image, stock: stock(own) });
            }
        }
    }
    Ok(picks)
}

/// Whether a place is one that the unit still has. One where nothing runs, while the unit was started
/// anew since it was heard of, may be of another time: the unit would be restarted onto what it has left.
fn belongs(stored: &Stored<'_>, own: &[&Stored<'_>]) -> bool {
    let Some(newest) = stored.place.past.first() else { return true };
    let started_since = |found: &&Container| found.created > newest.ended;
    !stored.place.running.is_empty()
        || !own.iter().flat_map(|stored| &stored.place.running).any(started_since)
}

/// What a unit could go back to.
fn stock(own: &[&Stored<'_>]) -> Stock {
    let other = |stored: &&&Stored<'_>, image: &ImageIdentity| {
        !stored.place.running.iter().any(|found| found.runs(&image.manifest))
    };
    let of = |stored: &&Stored<'_>| {
        let images = stored.images.iter().filter(|image| other(&stored, image));
        let named = images.map(|image| (stored.place.reference.clone(), image.manifest.clone()));
        named.collect::<Vec<_>>()
    };
    Stock(own.iter().flat_map(of).collect())
}

impl WayBack {
    fn add(
        &mut self,
        (engine, reference): (EngineKind, &Reference),
        picks: &[Pick<'_>],
        wish: Wish<'_>,
    ) {
        let Some(first) = picks.first() else { return };
        let new = first.image.clone();
        let on: Vec<&Container> = wish
            .containers
            .iter()
            .filter(|c| c.engine == engine && &c.source.reference == reference)
            .collect();
        let mut steps: BTreeMap<&UnitName, Step> = BTreeMap::new();
        let mut undone = BTreeSet::new();
        for Pick { stored, .. } in picks {
            undone.extend(stored.place.runs());
            steps.insert(stored.place.unit, step(stored, &new));
        }
        undone.remove(&new.manifest);
        if !engine.has_bindings() {
            self.take_along(&on, &new, &mut steps, &mut undone);
            self.warn_of(reference, &on, &steps, wish.bystanders);
        }
        let covered = |c: &&Container| {
            c.runs(&new.manifest) || c.unit.as_ref().is_some_and(|unit| steps.contains_key(unit))
        };
        let there = on.iter().filter(|container| container.runs(&new.manifest));
        let settled: BTreeSet<UnitName> = there.filter_map(|c| c.unit.clone()).collect();
        let container = first.stored.place.running.first();
        let fallback = ImageSource { reference: reference.clone(), authfile: None };
        self.rollouts.push(Rollout {
            source: container.map_or(fallback, |container| container.source.clone()),
            engine,
            policy: container.and_then(|c| c.policy.clone().ok()).unwrap_or(Policy::Registry),
            moves_tag: on.iter().all(covered),
            settled: settled.into_iter().collect(),
            new,
            with: vec![],
            steps: steps.into_values().collect(),
        });
        self.undone.push(undone.into_iter().collect());
    }

    /// Where there is only the tag, all that are kept up to date on it go back together.
    fn take_along<'a>(
        &mut self,
        on: &[&'a Container],
        new: &ImageIdentity,
        steps: &mut BTreeMap<&'a UnitName, Step>,
        undone: &mut BTreeSet<Digest>,
    ) {
        let follows = |c: &&&Container| matches!(c.policy, Ok(Policy::Registry | Policy::Local));
        for container in on.iter().filter(follows).filter(|c| !c.runs(&new.manifest)) {
            let Some(unit) = &container.unit else { continue };
            if steps.contains_key(unit) {
                continue;
            }
            self.warnings.push(format!(
                "{unit} goes back as well: {} has only the tag {}, which it shares",
                container.engine, container.source.reference
            ));
            undone.insert(container.image.manifest.clone());
            let old = container.image.clone();
            steps.insert(unit, Step::alone(unit.clone(), names(on, unit), old));
        }
    }

    /// Others on the tag get at their next start what it says then.
    fn warn_of(
        &mut self,
        reference: &Reference,
        on: &[&Container],
        steps: &BTreeMap<&UnitName, Step>,
        bystanders: &[Bystander],
    ) {
        let apart = |c: &&&Container| !c.unit.as_ref().is_some_and(|unit| steps.contains_key(unit));
        let own = on.iter().filter(apart).map(|container| &container.name);
        let engine = on.first().map(|container| container.engine);
        let beside = bystanders
            .iter()
            .filter(|other| &other.reference == reference && Some(other.engine) == engine);
        for name in own.chain(beside.map(|other| &other.name)) {
            self.warnings.push(format!(
                "container {name} is left alone, and gets at its next start what {reference} stands \
                 for then: the image that was gone back to"
            ));
        }
    }
}

fn names(on: &[&Container], unit: &UnitName) -> Vec<String> {
    let own = on.iter().filter(|container| container.unit.as_ref() == Some(unit));
    own.map(|container| container.name.clone()).collect()
}

/// The unit's turn. What it runs comes back where the other image fails; where that is not in
/// storage any more, there is nothing else to come back.
fn step(stored: &Stored<'_>, new: &ImageIdentity) -> Step {
    let Stored { place, images, .. } = stored;
    let running = place.runs();
    let in_storage = images.iter().find(|image| running.contains(&image.manifest));
    let seen = place.running.first().map(|container| &container.image);
    let old = in_storage.or(seen).unwrap_or(new).clone();
    Step::alone(place.unit.clone(), names(&place.running, place.unit), old)
}

#[cfg(test)]
#[path = "back_tests.rs"]
mod tests;
