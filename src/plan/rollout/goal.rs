//! The images of a rollout: its own, and those that go with it.

use serde::{Deserialize, Serialize};

use super::crew::go_together;
use super::{Rollout, Step};
use crate::model::{EngineKind, ImageIdentity, ImageSource, Policy, Reference, UnitName};

/// A further image that goes with a rollout's own, with what a rollout has of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    pub source: ImageSource,
    pub engine: EngineKind,
    pub policy: Policy,
    pub new: ImageIdentity,
    pub moves_tag: bool,
    #[serde(default)]
    pub settled: Vec<UnitName>,
}

/// Any image of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim<'a> {
    pub source: &'a ImageSource,
    pub engine: EngineKind,
    pub policy: Policy,
    pub new: &'a ImageIdentity,
    pub moves_tag: bool,
    pub settled: &'a [UnitName],
}

impl<'a> Aim<'a> {
    pub fn reference(&self) -> &'a Reference {
        &self.source.reference
    }
}

impl Rollout {
    /// Its images, its own first: in the order by which steps name them.
    pub fn aims(&self) -> impl Iterator<Item = Aim<'_>> {
        let further = self.with.iter().map(|goal| Aim {
            source: &goal.source,
            engine: goal.engine,
            policy: goal.policy,
            new: &goal.new,
            moves_tag: goal.moves_tag,
            settled: &goal.settled,
        });
        std::iter::once(self.own_aim()).chain(further)
    }

    /// The image that `step` is for.
    pub fn aim(&self, step: &Step) -> Aim<'_> {
        self.aims().nth(step.goal).unwrap_or_else(|| self.own_aim())
    }

    /// The step of a unit for one of its references.
    pub fn step(&self, unit: &UnitName, reference: &Reference) -> Option<&Step> {
        let own = |step: &&Step| &step.unit == unit && self.aim(step).reference() == reference;
        self.steps.iter().find(own)
    }

    /// The other units that go together with the one of `step`.
    pub fn companions(&self, step: &Step) -> Vec<&UnitName> {
        let others = self.steps.iter().filter(|other| other.unit != step.unit);
        let mut units: Vec<&UnitName> =
            others.filter(|other| go_together(step, other)).map(|other| &other.unit).collect();
        units.sort();
        units.dedup();
        units
    }

    fn own_aim(&self) -> Aim<'_> {
        Aim {
            source: &self.source,
            engine: self.engine,
            policy: self.policy,
            new: &self.new,
            moves_tag: self.moves_tag,
            settled: &self.settled,
        }
    }

    /// Whether both bring an image for the same containers.
    pub fn crosses(&self, other: &Rollout) -> bool {
        self.aims().any(|own| other.aims().any(|theirs| own.source == theirs.source))
    }
}
