//! What a pass did.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::model::OutcomeKind;
use crate::model::{Digest, EngineKind, Failure, Reference, UnitName};
use crate::plan::Reason;
use crate::plan::decide::Skipped;
use crate::plan::gate::until;

/// Who asked for a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A person or a script.
    Manual,
    /// The daemon's own schedule.
    Schedule,
    /// `updaterd-check.timer`.
    Timer,
    /// A rollout in flight was taken up again.
    Recovery,
    /// A person who has units go back.
    Rollback,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::Timer => "timer",
            Self::Recovery => "recovery",
            Self::Rollback => "rollback",
        })
    }
}

/// The end of one unit's update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub unit: UnitName,
    pub reference: Reference,
    /// Platform manifests.
    pub old: Digest,
    pub new: Digest,
    pub result: OutcomeKind,
    /// Why, where it is not `updated`; with both errors where the way back failed too.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Whether the unit runs its old image again, verified, although it needs an operator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// From the rollout's begin to its end, in milliseconds.
    pub elapsed_ms: u64,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub ended: Timestamp,
    pub trigger: String,
    /// When the pass began; `None` in entries of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Timestamp>,
    /// Whose container it was; `None` in entries of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineKind>,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What the unit wrote last where it failed, on the new image and then on the old one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Excerpt>,
}

/// The end of what a unit wrote into the journal in one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// The updated unit, or one that stops with it.
    pub unit: String,
    pub invocation: String,
    /// Oldest first.
    pub lines: Vec<String>,
    /// Why they could not be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub missing: String,
}

/// All that one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub outcomes: Vec<Outcome>,
    pub skipped: Vec<Skipped>,
    pub problems: Vec<Failure>,
    /// What an operator should know, and nothing is wrong with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Report {
    /// When the first of the units that wait for nothing but time may have their images.
    pub fn waits_until(&self) -> Option<Timestamp> {
        let ends = self.skipped.iter().filter_map(|skipped| match &skipped.reason {
            Reason::Gated { gates, .. } => until(gates),
            _ => None,
        });
        ends.min()
    }

    /// Whether any unit ended so.
    pub fn has(&self, kind: OutcomeKind) -> bool {
        self.outcomes.iter().any(|outcome| outcome.result == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::EventKind;

    #[test]
    fn names_are_those_of_documents() {
        for kind in OutcomeKind::ENDS {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(OutcomeKind::end(kind.name()), Some(kind));
        }
        assert_eq!(OutcomeKind::end("suspended"), None);
        for kind in OutcomeKind::all() {
            assert_eq!(OutcomeKind::named(kind.name()), Some(kind));
            assert_eq!(EventKind::of(kind).outcome(), Some(kind));
        }
        assert_eq!(EventKind::Restarting.outcome(), None);
    }
}
