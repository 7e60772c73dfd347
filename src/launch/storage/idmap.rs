//! Mounts that show the owners of files by another mapping (mount_setattr(2), "ID-mapped mounts").
//!
//! [`attach`] takes any user namespace: that of a container, or one made by [`namespace`] only to
//! hold a mapping.

use std::fmt;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::unistd::{ForkResult, fork};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Deserialize, Serialize};

use crate::launch::storage::tree::Tree;

/// `count` IDs of the file system from `file` on, which the mount shows as those from `host` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) file: u32,
    pub(crate) host: u32,
    pub(crate) count: u32,
}

/// A whole mapping; IDs in no range are shown as nobody's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mapping {
    pub(crate) uids: Vec<Range>,
    pub(crate) gids: Vec<Range>,
}

/// Mounts `source` at `at`, with the owners of files as `user_namespace` maps them: an ID inside
/// the namespace is one of the file system, the ID outside is who it is shown as.
///
/// # Errors
/// `EINVAL` where the file system allows no mapping.
pub(crate) fn attach(
    source: &Path,
    at: &Path,
    user_namespace: BorrowedFd<'_>,
    recursive: bool,
) -> io::Result<()> {
    let tree = Tree::clone_of(source, recursive)?;
    tree.map_ids(user_namespace, recursive)?;
    tree.attach(at)
}

/// Makes a user namespace with this mapping, which no process is in.
///
/// # Errors
/// Where the kernel refuses the mapping, or user namespaces.
pub(crate) fn namespace(mapping: &Mapping) -> io::Result<OwnedFd> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: the child makes system calls only, until it is killed.
    let child = match unsafe { fork() }? {
        ForkResult::Child => hold(&write),
        ForkResult::Parent { child } => Child(child.as_raw()),
    };
    drop(write);
    let mut made = [0];
    // End of file: the child could not make one, and has ended.
    std::fs::File::from(read)
        .read_exact(&mut made)
        .map_err(|_| io::Error::other("the kernel makes no user namespace"))?;
    let process = std::path::PathBuf::from(format!("/proc/{}", child.0));
    std::fs::write(process.join("uid_map"), lines(&mapping.uids))?;
    std::fs::write(process.join("gid_map"), lines(&mapping.gids))?;
    Ok(std::fs::File::open(process.join("ns/user"))?.into())
}

/// In the child: leaves the user namespace, says so, and waits for its end.
fn hold(write: &OwnedFd) -> ! {
    // SAFETY: system calls without memory of ours, but for one byte that is written.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::unshare(libc::CLONE_NEWUSER) == 0 {
            let _ = rustix::io::write(write.as_fd(), &[1]);
            loop {
                libc::pause();
            }
        }
        libc::_exit(1)
    }
}

struct Child(i32);

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0) {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// The form of user_namespaces(7), "uid_map".
fn lines(ranges: &[Range]) -> String {
    let line = |range: &Range| format!("{} {} {}\n", range.file, range.host, range.count);
    ranges.iter().map(line).collect()
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |ranges: &[Range]| {
            let text = |range: &Range| format!("{}-{}-{}", range.file, range.host, range.count);
            ranges.iter().map(text).collect::<Vec<_>>().join("#")
        };
        write!(f, "uids={};gids={}", join(&self.uids), join(&self.gids))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn owners_are_shown_as_mapped() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("owners_are_shown_as_mapped: skipped, not root");
            return;
        }
        let look = || {
            crate::launch::storage::rootfs::leave_mount_namespace().unwrap();
            let directory = tempfile::tempdir().unwrap();
            let tmpfs = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", directory.path(), "tmpfs", tmpfs, None).unwrap();
            let (from, to) = (directory.path().join("from"), directory.path().join("to"));
            std::fs::create_dir(&from).unwrap();
            std::fs::create_dir(&to).unwrap();
            std::fs::write(from.join("file"), "").unwrap();
            std::os::unix::fs::chown(from.join("file"), Some(0), Some(3)).unwrap();
            let range = vec![Range { file: 0, host: 1000, count: 10 }];
            let mapping = Mapping { uids: range.clone(), gids: range };
            let namespace = namespace(&mapping).unwrap();
            attach(&from, &to, namespace.as_fd(), false).unwrap();
            let shown = std::fs::metadata(to.join("file")).unwrap();
            let detach = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(&to, detach).unwrap();
            rustix::mount::unmount(directory.path(), detach).unwrap();
            (shown.uid(), shown.gid())
        };
        assert_eq!(std::thread::spawn(look).join().unwrap(), (1000, 1003));
    }
}
