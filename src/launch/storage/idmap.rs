//! Mounts that show the owners of files by another mapping (mount_setattr(2), "ID-mapped mounts").
//!
//! [`attach`] takes any user namespace: that of a container, or one made by [`namespace`] only to
//! hold a mapping.

use std::fmt;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::str::FromStr;

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

/// Why a mapping is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMapping {
    #[error("{0:?} is not uids=FILE-HOST-COUNT[#…];gids=FILE-HOST-COUNT[#…]")]
    Form(String),
    #[error(
        "idmap takes the mapping of the container's user namespace, and it has none: \
         say idmap=uids=FILE-HOST-COUNT"
    )]
    NoNamespace,
    #[error(
        "{0:?}: a mapping with \"@\" is relative to the container's user namespace, and it has none"
    )]
    Relative(String),
}

impl FromStr for Mapping {
    type Err = InvalidMapping;

    /// Reads `uids=0-1000-10#10-5000-1;gids=0-100-10` (podman-run(1), `idmap`). What is said of
    /// one kind only holds for both.
    fn from_str(text: &str) -> Result<Self, InvalidMapping> {
        let form = || InvalidMapping::Form(text.to_owned());
        let mut mapping = Self::default();
        for part in text.split(';') {
            let (kind, ranges) = part.split_once('=').ok_or_else(form)?;
            if ranges.contains('@') {
                return Err(InvalidMapping::Relative(text.to_owned()));
            }
            let ranges = ranges.split('#').map(range).collect::<Option<Vec<_>>>();
            match (kind, ranges.ok_or_else(form)?) {
                ("uids", ranges) if mapping.uids.is_empty() => mapping.uids = ranges,
                ("gids", ranges) if mapping.gids.is_empty() => mapping.gids = ranges,
                _ => return Err(form()),
            }
        }
        if mapping.uids.is_empty() {
            mapping.uids.clone_from(&mapping.gids);
        } else if mapping.gids.is_empty() {
            mapping.gids.clone_from(&mapping.uids);
        }
        Ok(mapping)
    }
}

fn range(text: &str) -> Option<Range> {
    let mut numbers = text.split('-').map(|number| number.parse::<u32>().ok());
    let range = Range { file: numbers.next()??, host: numbers.next()??, count: numbers.next()?? };
    let fits = |from: u32| from.checked_add(range.count).is_some();
    let whole = numbers.next().is_none() && range.count > 0 && fits(range.file) && fits(range.host);
    whole.then_some(range)
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

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mappings_are_read() {
        let read = |text: &str| text.parse::<Mapping>();
        let mapping = read("uids=0-1000-10#10-5000-1;gids=0-100-10").unwrap();
        assert_eq!(mapping.uids[1], Range { file: 10, host: 5000, count: 1 });
        assert_eq!(lines(&mapping.uids), "0 1000 10\n10 5000 1\n");
        let one = read("uids=0-1000-1").unwrap();
        assert_eq!(one.gids, one.uids);
        for wrong in ["", "uids", "uids=", "uids=0-1", "uids=0-1-0", "uids=0-1-2-3", "u=0-1-2"] {
            assert!(matches!(read(wrong), Err(InvalidMapping::Form(_))), "{wrong}");
        }
        assert!(read("uids=0-4294967295-2").is_err());
        assert!(matches!(read("uids=@0-1-2"), Err(InvalidMapping::Relative(_))));
    }

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
            let namespace = namespace(&"uids=0-1000-10".parse().unwrap()).unwrap();
            attach(&from, &to, namespace.as_fd(), false).unwrap();
            let shown = std::fs::metadata(to.join("file")).unwrap();
            let detach = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(&to, detach).unwrap();
            rustix::mount::unmount(directory.path(), detach).unwrap();
            (shown.uid(), shown.gid())
        };
        assert_eq!(std::thread::spawn(look).join().unwrap(), (1000, 1003));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written(text in "(uids|gids)=[0-9]{1,11}-[0-9]{1,11}-[0-9]{1,4}") {
            if let Ok(mapping) = text.parse::<Mapping>() {
                prop_assert_eq!(mapping.to_string().parse::<Mapping>().unwrap(), mapping);
            }
        }

        #[test]
        fn never_panics(text in "[uigds=0-9#;@-]{0,40}") {
            let _ = text.parse::<Mapping>();
        }
    }
}
