//! Which rollouts wait for which: restarts follow systemd's graph.
//!
//! Two rollouts that have nothing to do with each other go side by side. One whose units come after
//! another's, or need it, waits until that one is verified; so does one that shares a unit, a tag,
//! or a unit that needs both of them, since the end of the one would be taken for the other's doing.

use std::collections::{BTreeMap, BTreeSet};

use super::rollout::crew::go_together;
use super::rollout::{Rollout, Step};
use crate::model::{EngineKind, Reference};

/// Everything with default dependencies comes before it, which is true of the end of a host only.
const END: &str = "shutdown.target";

/// Who has to do with a unit, as systemd says; units of any type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followers {
    /// Those that are started after it (`Before=`).
    pub later: Vec<String>,
    /// Those that stop with it (`RequiredBy=`, `RequisiteOf=`, `BoundBy=`, `ConsistsOf=`,
    /// `PropagatesStopTo=`).
    pub dependents: Vec<String>,
}

/// systemd's graph, as far as it can be reached from the units that it was asked for.
#[derive(Debug, Clone, Default)]
pub struct Graph(BTreeMap<String, Followers>);

/// What a rollout waits for: places of other rollouts in the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// Those that must have ended.
    pub after: BTreeSet<usize>,
    /// Those among them that must have ended well: their units are needed.
    pub needs: BTreeSet<usize>,
}

impl Graph {
    /// The units to ask for that were not asked for yet; none when the graph is complete.
    pub fn unknown<'a>(&'a self, units: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
        let known = self.0.values().flat_map(|found| found.later.iter().chain(&found.dependents));
        units
            .chain(known.map(String::as_str))
            .filter(|unit| *unit != END && !self.0.contains_key(*unit))
            .map(str::to_owned)
            .collect()
    }

    pub fn learn(&mut self, unit: String, followers: Followers) {
        self.0.insert(unit, followers);
    }

    /// All that stops with `unit`, the nearest first; without itself.
    pub fn dependents(&self, unit: &str) -> Vec<String> {
        self.reach(unit, |followers| followers.dependents.iter().collect())
    }

    /// All that stops with `unit` or is started after it.
    fn followers(&self, unit: &str) -> Vec<String> {
        self.reach(unit, |followers| followers.later.iter().chain(&followers.dependents).collect())
    }

    fn reach(&self, unit: &str, edges: impl Fn(&Followers) -> Vec<&String>) -> Vec<String> {
        let mut reached: Vec<String> = Vec::new();
        let mut seen = BTreeSet::from([unit.to_owned()]);
        let mut at = unit.to_owned();
        for next in 0.. {
            let found = self.0.get(&at).map(&edges).unwrap_or_default();
            let new = found.into_iter().filter(|unit| *unit != END && seen.insert((*unit).clone()));
            reached.extend(new.cloned());
            let Some(unit) = reached.get(next) else { break };
            at = unit.clone();
        }
        reached
    }
}

/// Puts the units of each rollout into the order in which they depend on each other, and says what
/// each rollout waits for. Where they wait for each other in a circle, the first of them does not.
pub fn order(rollouts: &mut [Rollout], graph: &Graph) -> Vec<Turn> {
    for rollout in rollouts.iter_mut() {
        sort_steps(rollout, graph);
    }
    let reaches: Vec<Reach> = rollouts.iter().map(|rollout| Reach::of(rollout, graph)).collect();
    let mut turns: Vec<Turn> = (0..rollouts.len()).map(|at| turn(at, &reaches)).collect();
    let sequence = break_circles(&mut turns);
    for (place, at) in sequence.iter().enumerate() {
        let before = sequence[..place].iter().filter(|other| reaches[*at].meets(&reaches[**other]));
        turns[*at].after.extend(before);
    }
    turns
}

/// What a rollout touches.
struct Reach {
    units: BTreeSet<String>,
    followers: BTreeSet<String>,
    dependents: BTreeSet<String>,
    tags: BTreeSet<(EngineKind, Reference)>,
}

impl Reach {
    fn of(rollout: &Rollout, graph: &Graph) -> Self {
        let units = || rollout.steps.iter().map(|step| step.unit.as_str());
        Self {
            units: units().map(str::to_owned).collect(),
            followers: units().flat_map(|unit| graph.followers(unit)).collect(),
            dependents: units().flat_map(|unit| graph.dependents(unit)).collect(),
            tags: rollout.aims().map(|aim| (aim.engine, aim.reference().clone())).collect(),
        }
    }

    /// Whether the end of the one could be taken for the other's doing.
    fn meets(&self, other: &Self) -> bool {
        !self.tags.is_disjoint(&other.tags) || !self.dependents.is_disjoint(&other.dependents)
    }
}

/// What the rollout at `at` waits for by systemd's graph.
fn turn(at: usize, reaches: &[Reach]) -> Turn {
    let own = &reaches[at];
    let mut turn = Turn::default();
    for (number, other) in reaches.iter().enumerate().filter(|(number, _)| *number != at) {
        if !own.units.is_disjoint(&other.units) {
            // A restart for both: the first has it, and the second is tried alone where that failed.
            if number < at {
                turn.after.insert(number);
            }
        } else if !own.units.is_disjoint(&other.followers) {
            turn.after.insert(number);
            if !own.units.is_disjoint(&other.dependents) {
                turn.needs.insert(number);
            }
        }
    }
    turn
}

/// Goes through the turns as they would come; where none can, the first stops to wait. Returns how
/// they came.
fn break_circles(turns: &mut [Turn]) -> Vec<usize> {
    let mut sequence = Vec::with_capacity(turns.len());
    let mut ended = BTreeSet::new();
    while ended.len() < turns.len() {
        let mut open = (0..turns.len()).filter(|at| !ended.contains(at));
        let ready = open.clone().find(|at| turns[*at].after.is_subset(&ended));
        let circle = || first_of_circle(open.next()?, turns, &ended);
        let Some(next) = ready.or_else(circle) else { break };
        turns[next].after.retain(|other| ended.contains(other));
        turns[next].needs.retain(|other| ended.contains(other));
        ended.insert(next);
        sequence.push(next);
    }
    sequence
}

/// The first of those that wait for each other; `from` is one of them, or waits for them.
fn first_of_circle(from: usize, turns: &[Turn], ended: &BTreeSet<usize>) -> Option<usize> {
    let mut way = Vec::new();
    let mut at = from;
    while !way.contains(&at) {
        way.push(at);
        at = turns[at].after.iter().copied().find(|other| !ended.contains(other))?;
    }
    way.into_iter().skip_while(|one| *one != at).min()
}

/// A unit that needs another one of the same rollout comes after it; by name otherwise. It waits for
/// that one, and for one that a third unit needs as it does. Those that go together come and wait
/// together.
fn sort_steps(rollout: &mut Rollout, graph: &Graph) {
    let mut open = crews(std::mem::take(&mut rollout.steps));
    let mut ahead: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for step in open.iter().flatten() {
        ahead.insert(step.unit.to_string(), graph.followers(step.unit.as_str()));
    }
    let comes_after = |step: &Step, other: &Step| {
        let later = ahead.get(other.unit.as_str());
        other.unit != step.unit && later.is_some_and(|it| it.contains(&step.unit.to_string()))
    };
    let any_after = |crew: &[Step], other: &[Step]| {
        crew.iter().any(|step| other.iter().any(|other| comes_after(step, other)))
    };
    while !open.is_empty() {
        let waits = |at: usize| {
            let mut others = open.iter().enumerate().filter(|(other, _)| *other != at);
            others.any(|(_, other)| any_after(&open[at], other))
        };
        let next = (0..open.len()).find(|at| !waits(*at)).unwrap_or(0);
        let crew = open.remove(next);
        let own: BTreeSet<String> =
            crew.iter().flat_map(|step| graph.dependents(step.unit.as_str())).collect();
        let before = rollout.steps.iter().enumerate().filter(|(_, other)| {
            any_after(&crew, std::slice::from_ref(other))
                || graph.dependents(other.unit.as_str()).iter().any(|unit| own.contains(unit))
        });
        // Those that go together have ended when all of them have.
        let met: Vec<usize> = before.map(|(at, _)| at).collect();
        let ends_with = |other: &Step| met.iter().any(|at| go_together(&rollout.steps[*at], other));
        let all = rollout.steps.iter().enumerate().filter(|(_, other)| ends_with(other));
        let after: Vec<usize> = all.map(|(at, _)| at).collect();
        for mut step in carried_last(crew, graph) {
            step.after.clone_from(&after);
            step.carried_by = carriers(&step, &rollout.steps, graph);
            rollout.steps.push(step);
        }
    }
}

/// The steps, those that go together in one, each where its first was.
fn crews(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut crews: Vec<Vec<Step>> = Vec::new();
    for step in steps {
        match crews.iter_mut().find(|crew| crew.iter().any(|other| go_together(other, &step))) {
            Some(crew) => crew.push(step),
            None => crews.push(vec![step]),
        }
    }
    crews
}

/// Those of a crew that stop with another one of it come after that one.
fn carried_last(mut crew: Vec<Step>, graph: &Graph) -> Vec<Step> {
    let mut sorted = Vec::with_capacity(crew.len());
    while !crew.is_empty() {
        let is_carried = |step: &Step| {
            crew.iter().any(|other| other.unit != step.unit && carries(other, step, graph))
        };
        let next = crew.iter().position(|step| !is_carried(step)).unwrap_or(0);
        sorted.push(crew.remove(next));
    }
    sorted
}

/// Those of `before` that go together with `step` and whose restart restarts its unit.
fn carriers(step: &Step, before: &[Step], graph: &Graph) -> Vec<usize> {
    let carrying = before.iter().enumerate().filter(|(_, other)| {
        go_together(other, step) && (other.unit == step.unit || carries(other, step, graph))
    });
    carrying.map(|(at, _)| at).collect()
}

fn carries(one: &Step, other: &Step, graph: &Graph) -> bool {
    graph.dependents(one.unit.as_str()).iter().any(|unit| unit == other.unit.as_str())
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
