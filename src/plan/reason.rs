//! Why something is not updated.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::gate::{Gate, describe};
use crate::model::failure::excerpt;
use crate::model::{Digest, Failure, Group, UnitName};

/// Why a container is left as it is: each is shown by `updaterctl check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    UpToDate,
    /// The policy is `disabled` or empty.
    Disabled,
    /// The reference names a digest: there is nothing newer by definition.
    Pinned,
    /// The available image failed here before.
    Quarantined {
        manifest: Digest,
        since: Timestamp,
        cause: String,
    },
    /// It was taken back for what was not its doing, and an operator was told; it is tried again by
    /// itself at `until`.
    PutOff {
        manifest: Digest,
        until: Timestamp,
        cause: String,
    },
    /// It is there for the unit, which does not get it yet.
    Gated {
        manifest: Digest,
        /// What lasts longest comes first.
        gates: Vec<Gate>,
        /// Whether it is in storage already.
        #[serde(default)]
        staged: bool,
    },
    /// The unit has the available image, or gets it at its next start: how that run ends is to be
    /// seen.
    OnProbation {
        manifest: Digest,
        since: Timestamp,
    },
    /// The last checks failed; the next is not before `until`.
    CoolingDown {
        until: Timestamp,
        failure: Failure,
    },
    /// There is a new image, or may be: but its registry allows few pulls any more, and those are kept
    /// for units that need an image to start, and for people who ask.
    BudgetSpent {
        registry: String,
        remaining: u64,
        limit: u64,
        /// When the registry counts anew at the latest.
        until: Timestamp,
    },
    /// The label's value names no policy.
    InvalidPolicy {
        message: String,
    },
    /// No unit's cgroup holds the container.
    NoUnit {
        /// The unit that the container's label names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claimed: Option<String>,
    },
    /// A unit's does, but the unit is there for something else, which a restart would end.
    Guest {
        host: UnitName,
    },
    /// The policy is `local` and local storage has no image of that name.
    NotInStorage,
    CheckFailed {
        failure: Failure,
    },
    /// The label's value is no group's name, or two of the unit's containers name two.
    InvalidGroup {
        message: String,
    },
    /// Another unit of its group could not be checked, and it would go without that one.
    GroupWaits {
        group: Group,
        other: Option<UnitName>,
        why: String,
    },
    /// The images that its group would have, or the unit where it is of none, failed together before.
    FailedTogether {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Group>,
        /// The unit that failed, and its image.
        failed: UnitName,
        manifest: Digest,
        since: Timestamp,
        cause: String,
    },
    /// It follows a tag that a unit follows which is held back.
    WaitsForUnit {
        other: Option<UnitName>,
        why: String,
    },
}

impl Reason {
    /// Whether it is an error that an operator should look at, rather than the normal state.
    pub fn is_error(&self) -> bool {
        match self {
            Self::UpToDate
            | Self::Disabled
            | Self::Pinned
            | Self::Quarantined { .. }
            | Self::PutOff { .. }
            | Self::Gated { .. }
            | Self::BudgetSpent { .. }
            | Self::OnProbation { .. }
            | Self::FailedTogether { .. }
            | Self::GroupWaits { .. }
            | Self::WaitsForUnit { .. } => false,
            Self::InvalidGroup { .. }
            | Self::CoolingDown { .. }
            | Self::InvalidPolicy { .. }
            | Self::NoUnit { .. }
            | Self::Guest { .. }
            | Self::NotInStorage
            | Self::CheckFailed { .. } => true,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpToDate => f.write_str("up to date"),
            Self::Disabled => f.write_str("disabled"),
            Self::Pinned => f.write_str("pinned to a digest"),
            Self::Quarantined { manifest, since, cause } => {
                write!(f, "quarantined digest {} since {since:.0}: {cause}", manifest.short())
            }
            Self::PutOff { manifest, until, cause } => {
                write!(
                    f,
                    "digest {} was taken back, and is put off until {until:.0}: {cause}",
                    manifest.short()
                )
            }
            Self::Gated { manifest, gates, staged } => {
                let pulled = if *staged { ", and is pulled" } else { "" };
                write!(f, "digest {} waits{pulled}: {}", manifest.short(), describe(gates))
            }
            Self::OnProbation { manifest, since } => {
                write!(
                    f,
                    "waits for its next run to end, with digest {} since {since:.0}",
                    manifest.short()
                )
            }
            Self::CoolingDown { until, failure } => {
                write!(f, "cooling down until {until:.0}: {failure}")
            }
            Self::BudgetSpent { registry, remaining: 0, limit, until } => {
                write!(
                    f,
                    "put off until {until:.0}: none of the {limit} pulls of {registry} is left"
                )
            }
            Self::BudgetSpent { registry, remaining, limit, until } => write!(
                f,
                "put off until {until:.0}: {remaining} of the {limit} pulls of {registry} are left, and \
                 kept for units that need an image to start and for people who ask"
            ),
            Self::InvalidPolicy { message } => f.write_str(message),
            Self::NoUnit { claimed: None } => f.write_str("no systemd unit owns this container"),
            Self::NoUnit { claimed: Some(claimed) } => write!(
                f,
                "no systemd unit owns this container: its label claims {}, whose cgroup does not \
                 hold it",
                excerpt(claimed)
            ),
            Self::Guest { host } => {
                write!(
                    f,
                    "only a guest in {host}, which would be restarted for it: run it as a unit of \
                     its own"
                )
            }
            Self::NotInStorage => f.write_str("no image of this name in local storage"),
            Self::CheckFailed { failure } => write!(f, "check failed: {failure}"),
            Self::InvalidGroup { message } => write!(f, "invalid group: {message}"),
            Self::GroupWaits { group, other, why } => {
                write!(f, "its group {group} waits for {}: {why}", of(other.as_ref()))
            }
            Self::FailedTogether { group, failed, since, cause, .. } => {
                let who = group.as_ref().map_or("it".to_owned(), |it| format!("its group {it}"));
                write!(f, "{who} failed with these images, at {since:.0} in {failed}: {cause}")
            }
            Self::WaitsForUnit { other, why } => {
                write!(f, "waits for {}, which goes with it: {why}", of(other.as_ref()))
            }
        }
    }
}

fn of(unit: Option<&UnitName>) -> &str {
    unit.map_or("another container", UnitName::as_str)
}
