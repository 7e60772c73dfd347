//! What keeps a container to itself: capabilities, the system call filter, namespaces, devices,
//! limits, its cgroup.

pub(crate) mod capability;
pub(crate) mod cgroup;
pub(crate) mod device_rule;
pub(crate) mod delegation;
pub(crate) mod devices;
pub(crate) mod error;
pub(crate) mod limits;
pub(crate) mod namespaces;
pub(crate) mod oom;
pub(crate) mod owner;
pub(crate) mod paths;
pub(crate) mod resources;
pub(crate) mod seccomp;
pub(crate) mod security;
pub(crate) mod sysctl;
pub(crate) mod view;

pub(crate) use error::Error;
