//! How much of the host a container may use.

use clap::Args;
use serde::{Deserialize, Serialize};

// How much of the host a container may use.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ResourceFlags {
    /// Memory limit; like all limits of a whole container, it needs Delegate=yes in the unit
    #[arg(short, long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Limit of memory and swap together; -1 is no limit. By default as much swap as memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,
    /// Memory that is not taken away where there is other
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_reservation: Option<String>,
    /// Only -1: cgroup v2 has no swappiness of a container
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) memory_swappiness: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<String>,
    /// Microseconds of CPU time in each period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Length of a period
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) cpu_period: Option<u64>,
    /// Share of the CPUs where others want them, too; 1024 is the usual one
    #[arg(short, long, value_name = "SHARES")]
    pub(crate) cpu_shares: Option<u64>,
    /// CPUs to run on, such as 0-3,5
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Number of processes and threads; -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) pids_limit: Option<i64>,
    /// Share of the disks, from 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) blkio_weight: Option<u64>,
    /// Share of one disk
    #[arg(long, value_name = "PATH:WEIGHT")]
    pub(crate) blkio_weight_device: Vec<String>,
    /// Bytes a second that are read from a device
    #[arg(long, value_name = "PATH:RATE")]
    pub(crate) device_read_bps: Vec<String>,
    /// Bytes a second that are written to a device
    #[arg(long, value_name = "PATH:RATE")]
    pub(crate) device_write_bps: Vec<String>,
    /// Operations a second that read from a device
    #[arg(long, value_name = "PATH:RATE")]
    pub(crate) device_read_iops: Vec<String>,
    /// Operations a second that write to a device
    #[arg(long, value_name = "PATH:RATE")]
    pub(crate) device_write_iops: Vec<String>,
    /// Set a file of the container's cgroup, such as memory.high
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) cgroup_conf: Vec<String>,
    /// Put the container's cgroup below this one, which must be in the unit's own
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup_parent: Option<String>,
}
