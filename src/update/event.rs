//! What happens during a pass, one thing at a time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, EngineKind, OutcomeKind, Reference, UnitName};

/// The kind of an event: each has its own MESSAGE_ID in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A container's image could not be checked.
    CheckFailed,
    /// A container that wants updates cannot have any: no unit, a label without meaning.
    Misconfigured,
    /// The engine reported something it could not read.
    Problem,
    UpdateAvailable,
    /// The new image is being brought into storage.
    Staging,
    Staged,
    /// The unit gets the new image and is restarted.
    Restarting,
    /// The unit is watched until it has settled.
    Verifying,
    Updated,
    /// An operator had the unit go back.
    Reverted,
    /// The update failed; the unit gets its old image back.
    RollingBack,
    RolledBack,
    /// The update failed before anything was restarted, or rollback is switched off.
    UpdateFailed,
    /// The rollout ended before the unit's turn came.
    NotReached,
    /// The unit was stopped meanwhile.
    StoppedMeanwhile,
    /// The unit gets the new image at its next start.
    Deferred,
    /// The update failed for a cause outside of its image; the unit runs its old image again.
    TakenBack,
    /// The way back failed as well.
    NeedsOperator,
    Quarantined,
    /// The rollout goes on later: host or service stops, or its end could not be written down.
    Suspended,
    /// A rollout that a crash or a shutdown interrupted is taken up again.
    Resumed,
    /// An image that updaterd had pulled, and that nobody needs any more, is gone from storage.
    Removed,
}

impl EventKind {
    /// That an update ended so, or goes on later.
    pub fn of(outcome: OutcomeKind) -> Self {
        match outcome {
            OutcomeKind::Updated => Self::Updated,
            OutcomeKind::Reverted => Self::Reverted,
            OutcomeKind::RolledBack => Self::RolledBack,
            OutcomeKind::Failed => Self::UpdateFailed,
            OutcomeKind::NotReached => Self::NotReached,
            OutcomeKind::NeedsOperator => Self::NeedsOperator,
            OutcomeKind::Stopped => Self::StoppedMeanwhile,
            OutcomeKind::Deferred => Self::Deferred,
            OutcomeKind::Suspended => Self::Suspended,
        }
    }

    /// How an update ended, where that is what happened.
    pub fn outcome(self) -> Option<OutcomeKind> {
        if self == Self::TakenBack {
            return Some(OutcomeKind::NeedsOperator);
        }
        OutcomeKind::all().find(|outcome| Self::of(*outcome) == self)
    }
}

/// Which rollout an end is of. It stays the same where a crash has the end told again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub started: Timestamp,
    pub engine: EngineKind,
}

/// One event, with what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub kind: EventKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// The platform manifest that ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Digest>,
    /// The platform manifest that shall run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Digest>,
    /// Why, where there is a why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Milliseconds since the rollout began, where one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// Of a rollout's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Event {
    /// An event about nothing in particular yet.
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            unit: None,
            reference: None,
            old: None,
            new: None,
            detail: String::new(),
            elapsed_ms: None,
            origin: None,
        }
    }
}
