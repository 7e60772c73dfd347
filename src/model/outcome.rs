//! How the update of a unit ended: in reports, in the history, in what operators are told, and in what
//! they want to be told of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the update of one unit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    Updated,
    /// Runs its old image again, verified: the new one failed it.
    RolledBack,
    /// Nothing was restarted, or rollback is switched off.
    Failed,
    /// Neither the new nor the old image came back; or the old one did, and what kept the new one from it
    /// was not the image.
    NeedsOperator,
    /// It was stopped meanwhile.
    Stopped,
    /// Gets the new image at its next start: it ends by itself, as a job does.
    Deferred,
    /// Not reached: the rollout ended before.
    NotReached,
    /// Goes on at the next pass, or the next start of the host or the service.
    Suspended,
    /// An operator had it go back: runs an image that it had before, verified.
    Reverted,
}

impl OutcomeKind {
    /// Those that are ends, which the history has.
    pub const ENDS: [Self; 8] = [
        Self::Updated,
        Self::Reverted,
        Self::RolledBack,
        Self::Failed,
        Self::NeedsOperator,
        Self::Stopped,
        Self::Deferred,
        Self::NotReached,
    ];

    /// The word for it in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
            Self::NeedsOperator => "needs-operator",
            Self::Stopped => "stopped",
            Self::Deferred => "deferred",
            Self::NotReached => "not-reached",
            Self::Suspended => "suspended",
            Self::Reverted => "reverted",
        }
    }

    /// The ends, and what goes on later.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ENDS.into_iter().chain([Self::Suspended])
    }

    /// The one that has this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    /// The end that has this name.
    pub fn end(name: &str) -> Option<Self> {
        Self::ENDS.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Updated => "updated",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::NeedsOperator => "needs an operator",
            Self::Stopped => "stopped meanwhile",
            Self::Deferred => "at its next start",
            Self::NotReached => "not reached",
            Self::Suspended => "suspended",
            Self::Reverted => "reverted",
        })
    }
}
