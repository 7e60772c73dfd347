//! What a container may do.

use clap::Args;
use serde::{Deserialize, Serialize};

/// What a container may do.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct IsolationFlags {
    /// Add a capability, or "all" that the launcher has
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Drop a capability, or "all"
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
}
