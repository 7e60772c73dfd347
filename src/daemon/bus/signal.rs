//! What the service tells: the values behind its properties and signals.

use jiff::Timestamp;
use serde::Serialize;

/// What the daemon is doing: the property `State`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    Idle,
    Checking,
    Updating,
    Recovering,
    Stopping,
}

impl Activity {
    /// As the property has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Checking => "checking",
            Self::Updating => "updating",
            Self::Recovering => "recovering",
            Self::Stopping => "stopping",
        }
    }
}

/// The values behind the properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    pub activity: Activity,
    pub last_check: Option<Timestamp>,
    pub next_check: Option<Timestamp>,
}

impl Default for Properties {
    fn default() -> Self {
        Self { activity: Activity::Idle, last_check: None, next_check: None }
    }
}

/// What a signal tells of one unit. Digests are those of platform manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub unit: String,
    pub reference: String,
    pub old: String,
    pub new: String,
}

/// The signals of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    UpdateAvailable(Change),
    UpdateStarted(Change),
    UpdateFinished {
        change: Change,
        outcome: String,
        detail: String,
    },
    RolledBack {
        change: Change,
        cause: String,
    },
    /// Bytes of the layers that were not there.
    PullProgress {
        reference: String,
        new: String,
        received: u64,
        total: u64,
    },
    /// Not a signal of the interface: its properties are new.
    Properties(Properties),
}
