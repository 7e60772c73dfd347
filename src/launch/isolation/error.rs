//! Why a container cannot be confined as it was asked for.

use std::path::PathBuf;

use crate::launch::isolation::seccomp::TooLong;
use crate::launch::isolation::seccomp::profile::InvalidProfile;
use crate::launch::isolation::{device_rule, limits, owner, resources, security, sysctl};

/// A confinement that is not to be had: the container does not start without it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Option(#[from] security::InvalidOption),
    #[error(transparent)]
    Unavailable(#[from] security::Unavailable),
    #[error("--security-opt seccomp={path}: the profile cannot be used", path = path.display())]
    Profile { path: PathBuf, source: InvalidProfile },
    #[error(transparent)]
    Filter(#[from] TooLong),
    #[error(transparent)]
    Namespace(#[from] owner::Error),
    #[error("--{flag} container:{name}: that container does not run; start it first")]
    NotRunning { flag: &'static str, name: String },
    #[error("--ipc container:{0}: that container keeps its IPC namespace to itself (--ipc={1})")]
    NotShareable(String, String),
    #[error(
        "--hostname: the container has the host name of its UTS namespace, which is not its own"
    )]
    Hostname,
    #[error(
        "--cgroupns: a container that runs systemd writes to its cgroups, and needs a namespace of \
         its own for them: leave it out, or say --systemd=false"
    )]
    SystemdNamespace,
    #[error("--security-opt proc-opts: with --pid=host, /proc is the host's; leave one out")]
    ProcOptions,
    #[error(
        "--device-cgroup-rule: an ordinary user's container has no devices but those it is given"
    )]
    DeviceRules,
    #[error(transparent)]
    Sysctl(#[from] sysctl::InvalidParameter),
    #[error(transparent)]
    Ulimit(#[from] limits::InvalidLimit),
    #[error(transparent)]
    Resource(#[from] resources::InvalidLimit),
    #[error(transparent)]
    DeviceRule(#[from] device_rule::InvalidRule),
    #[error(
        "--oom-score-adj {0}: lowering the score needs CAP_SYS_RESOURCE, or OOMScoreAdjust= in the unit"
    )]
    OomScore(i32),
    #[error(
        "exec --privileged needs a container with a cgroup of its own, or the command could open \
         every device of the host"
    )]
    Privileged,
}
