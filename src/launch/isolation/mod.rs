//! What keeps a container to itself: capabilities, the system call filter, devices, limits, its
//! cgroup.

pub(crate) mod capability;
pub(crate) mod cgroup;
pub(crate) mod devices;
pub(crate) mod limits;
pub(crate) mod namespaces;
pub(crate) mod seccomp;
