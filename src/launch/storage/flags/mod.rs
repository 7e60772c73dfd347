//! The words of the command line that ask for storage, read. Pure.

pub(crate) mod device;
pub(crate) mod idmap;
pub(crate) mod mount;
pub(crate) mod secret;
pub(crate) mod tmpfs;
pub(crate) mod volume;
