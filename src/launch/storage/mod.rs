//! A container's files: its root file system, what is mounted into it, and what it writes.

pub(crate) mod dangling;
pub(crate) mod devices;
pub(crate) mod file_system;
pub(crate) mod files;
pub(crate) mod fill;
pub(crate) mod flags;
pub(crate) mod hold;
pub(crate) mod idmap;
pub(crate) mod mounts;
pub(crate) mod overlay;
pub(crate) mod own;
pub(crate) mod places;
pub(crate) mod propagation;
pub(crate) mod rootfs;
pub(crate) mod secrets;
pub(crate) mod settle;
pub(crate) mod stage;
pub(crate) mod tree;
pub(crate) mod users;
pub(crate) mod volume;
pub(crate) mod volumes;
pub(crate) mod walk;
pub(crate) mod writable;
