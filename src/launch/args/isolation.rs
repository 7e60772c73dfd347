//! What a container may do.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::launch::isolation::owner::{Ipc, Owner};

// What a container may do.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct IsolationFlags {
    /// Add a capability, or "all" that the launcher has
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Drop a capability, or "all"
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// All capabilities and devices, no filter of system calls, all of /proc and /sys
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    #[serde(default)]
    pub(crate) privileged: bool,
    /// seccomp=FILE|unconfined, no-new-privileges, mask=PATHS, unmask=ALL|PATHS,
    /// apparmor=PROFILE|unconfined, proc-opts=OPTIONS, label=disable
    #[arg(long, value_name = "OPTION")]
    #[serde(default)]
    pub(crate) security_opt: Vec<String>,
    /// Process IDs: private, host, container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    #[serde(default)]
    pub(crate) pid: Option<Owner>,
    /// Shared memory and message queues: shareable (the default), private, none, host,
    /// container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    #[serde(default)]
    pub(crate) ipc: Option<Ipc>,
    /// Host name: private, host, container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    #[serde(default)]
    pub(crate) uts: Option<Owner>,
    /// What the container sees of the cgroups: private, host, container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    #[serde(default)]
    pub(crate) cgroupns: Option<Owner>,
    /// Set a kernel parameter of the container's own namespaces
    #[arg(long, value_name = "NAME=VALUE")]
    #[serde(default)]
    pub(crate) sysctl: Vec<String>,
    /// Limit each process: nofile, core, memlock, ...; "host" for all that the launcher has
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    #[serde(default)]
    pub(crate) ulimit: Vec<String>,
    /// How soon the container is killed where the host's memory is used up, from -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    #[serde(default)]
    pub(crate) oom_score_adj: Option<i32>,
    /// Allow more devices, as "c MAJOR:MINOR rwm", to a container that can make nodes of them
    #[arg(long, value_name = "RULE")]
    #[serde(default)]
    pub(crate) device_cgroup_rule: Vec<String>,
}

impl IsolationFlags {
    /// The capabilities that are added, by all flags.
    pub(crate) fn all_added(&self) -> Vec<String> {
        let all = self.privileged.then(|| "all".to_owned());
        self.cap_add.iter().cloned().chain(all).collect()
    }
}
