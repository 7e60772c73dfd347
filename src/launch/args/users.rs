//! Who a container's users are on the host.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::launch::userns::mode::Mode;

// Who a container's users are on the host.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct UserNamespaceFlags {
    /// User namespace: host, auto[:size=N] (IDs that no other container has, from those of
    /// "containers" in /etc/subuid), container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    pub(crate) userns: Option<Mode>,
    /// Users of the container that are others on the host, in a user namespace of its own
    #[arg(long, value_name = "CONTAINER:HOST[:COUNT]")]
    pub(crate) uidmap: Vec<String>,
    /// The same for groups; without it, as --uidmap says
    #[arg(long, value_name = "CONTAINER:HOST[:COUNT]")]
    pub(crate) gidmap: Vec<String>,
    /// The users are those that /etc/subuid gives to this name, in a user namespace of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) subuidname: Option<String>,
    /// The same for groups and /etc/subgid
    #[arg(long, value_name = "NAME")]
    pub(crate) subgidname: Option<String>,
}
