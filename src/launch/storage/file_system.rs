//! File systems of our own making.

use std::ffi::CString;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, mount};

/// Mounts a tmpfs with `data`, its own options, and `words`, the mount's.
///
/// # Errors
/// `EINVAL` for options that it does not take.
pub(crate) fn tmpfs(at: &Path, data: &[String], words: &[String]) -> io::Result<()> {
    let data = CString::new(data.join(",")).map_err(|_| io::ErrorKind::InvalidInput)?;
    let flag = |word: &String| match word.as_str() {
        "ro" => MountFlags::RDONLY,
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        _ => MountFlags::empty(),
    };
    Ok(mount("tmpfs", at, "tmpfs", words.iter().map(flag).collect(), &*data)?)
}
