//! How a container is a service: its readiness, cgroup, output and end.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::launch::isolation::cgroup::Mode;

// How a container is a service: its readiness, cgroup, output and end.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ServiceFlags {
    /// Who tells systemd that the service is ready
    #[arg(long, value_name = "WHO", default_value = "conmon")]
    pub(crate) sdnotify: SdNotify,
    /// Whether the container is given what systemd needs as its first process: a tmpfs on /run,
    /// /run/lock, /tmp and /var/log/journal, a writable cgroup, SIGRTMIN+3 as its stop signal
    #[arg(long, value_name = "WHEN", default_value = "true")]
    #[serde(default)]
    pub(crate) systemd: Systemd,
    /// The container's cgroup: by default one of its own below the unit's
    #[arg(long, value_name = "MODE")]
    pub(crate) cgroups: Option<Mode>,
    /// Seconds between the stop signal and SIGKILL
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) stop_timeout: u32,
    /// Seconds after which the container is killed, if it still runs; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    #[serde(default)]
    pub(crate) timeout: u32,
    /// Signal that stops the container, instead of the image's
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Where output goes: in a unit to the journal by default, else to this program's own output
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<LogDriver>,
    /// What the driver is told: path=FILE and max-size=SIZE (k8s-file), tag=TEMPLATE (journald)
    #[arg(long, value_name = "NAME=VALUE")]
    #[serde(default)]
    pub(crate) log_opt: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SdNotify {
    /// This program, as soon as the container runs
    Conmon,
    /// The program in the container
    Container,
    /// This program, as soon as a health check has passed
    Healthy,
    /// Nobody
    Ignore,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Systemd {
    /// Where the command is /sbin/init, /usr/sbin/init, /usr/local/sbin/init, or called systemd
    #[default]
    True,
    False,
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogDriver {
    /// The journal, with CONTAINER_NAME= and CONTAINER_ID=
    Journald,
    /// This program's own standard output and error, handed over as they are
    Passthrough,
    /// A file, in the format of Kubernetes
    #[value(name = "k8s-file", alias = "json-file")]
    #[serde(rename = "k8s-file")]
    K8sFile,
    None,
}
