//! A container's files: its root file system, what is mounted into it, and what it writes.

pub(crate) mod dangling;
pub(crate) mod files;
pub(crate) mod fill;
pub(crate) mod mounts;
pub(crate) mod overlay;
pub(crate) mod rootfs;
pub(crate) mod volume;
pub(crate) mod writable;
