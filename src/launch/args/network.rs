//! Whom a container can reach, and under which name it is reached.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Whom a container can reach, and under which name it is reached.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct NetworkFlags {
    /// Host name in the container
    #[arg(short, long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Network: the host's, or none. Required outside of a pod, because Podman's default (a bridge) is
    /// not there yet
    #[arg(long, visible_alias = "net", value_name = "MODE", overrides_with = "network")]
    pub(crate) network: Option<Network>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Network {
    Host,
    None,
}
