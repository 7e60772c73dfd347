//! What a container is made from: the flags that `run` and `create` share.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::launch::args::{
    EnvironmentFlags, ExposeFlags, HealthFlags, Identity, ImageFlags, IsolationFlags, NetworkFlags,
    ProcessFlags, ProgramFlags, ResourceFlags, ServiceFlags, StorageFlags, UserNamespaceFlags,
};

// The flags of podman-create(1) that are there; kept as long as the container, for its next start.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) program: ProgramFlags,
    #[command(flatten)]
    #[serde(default)]
    pub(crate) environment: EnvironmentFlags,
    #[command(flatten)]
    pub(crate) storage: StorageFlags,
    #[command(flatten)]
    pub(crate) isolation: IsolationFlags,
    #[command(flatten)]
    #[serde(default)]
    pub(crate) resources: ResourceFlags,
    #[command(flatten)]
    #[serde(default)]
    pub(crate) users: UserNamespaceFlags,
    #[command(flatten)]
    pub(crate) network: NetworkFlags,
    #[command(flatten)]
    #[serde(default)]
    pub(crate) expose: ExposeFlags,
    #[command(flatten)]
    pub(crate) service: ServiceFlags,
    #[command(flatten)]
    #[serde(default)]
    pub(crate) health: HealthFlags,
    #[command(flatten)]
    #[serde(default)]
    pub(crate) process: ProcessFlags,
    #[command(flatten)]
    pub(crate) source: ImageFlags,
    /// Image reference; what one without a registry stands for, registries.conf(5) says
    pub(crate) image: String,
    /// Command and its arguments, instead of the image's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}
