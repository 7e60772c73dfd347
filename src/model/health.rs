//! Whether a container does what it is there for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a container's health, in the words of podman-inspect(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// No check has passed yet, and not so many have failed.
    Starting,
    /// The last check passed, or not enough have failed since.
    Healthy,
    /// As many checks in a row as may fail have failed.
    Unhealthy,
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        })
    }
}
