//! A supervisor's control socket: what is asked of a container that runs, by those who may write
//! to its record. One connection is one asker; one packet is one message ([`protocol`]).

pub(crate) mod connection;
pub(crate) mod protocol;
pub(crate) mod server;

use std::path::{Path, PathBuf};

use crate::store::containers::Record;

/// Beside the record.
const SOCKET: &str = "control";

/// The directory that has the container's socket.
fn directory(record: &Record) -> &Path {
    record.rootfs.parent().unwrap_or(Path::new("/"))
}

/// The socket's path by a descriptor of its directory: the whole path may be longer than `sun_path`.
fn short_path(directory: &impl std::os::fd::AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}
