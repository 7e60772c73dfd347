//! Mounts before they have a place: cloned, changed, attached (open_tree(2), mount_setattr(2),
//! move_mount(2)). A tree that is never attached is gone with its descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// From `linux/mount.h`; rustix does not have mount_setattr(2).
const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_NOEXEC: u64 = 0x8;
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
const MOVE_MOUNT_SET_GROUP: libc::c_uint = 0x100;
const MOVE_MOUNT_BOTH_EMPTY: libc::c_uint = 0x04 | 0x40;

/// A tree of mounts that is nowhere yet.
#[derive(Debug)]
pub(crate) struct Tree(OwnedFd);

/// The arguments of mount_setattr(2): `struct mount_attr`.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

impl Tree {
    /// Clones what is mounted at `path`, or from the directory or file there on; `recursive` with
    /// all that is mounted below it. `path` is in our own mount namespace.
    pub(crate) fn clone_of(path: &Path, recursive: bool) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        Ok(Self(open_tree(CWD, path, with_depth(flags, recursive))?))
    }

    /// The same for what is open already: nobody can put a link in its place.
    pub(crate) fn clone_of_open(opened: impl AsFd, recursive: bool) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(Self(open_tree(opened, "", with_depth(flags, recursive))?))
    }

    /// Shows the owners of files as `user_namespace` maps them. The file system must allow it, and
    /// the mount may not have a mapping yet.
    ///
    /// # Errors
    /// `EINVAL` where the file system, or a mount below, takes no mapping; `EPERM` without
    /// CAP_SYS_ADMIN over the file system.
    pub(crate) fn map_ids(
        &self,
        user_namespace: BorrowedFd<'_>,
        recursive: bool,
    ) -> io::Result<()> {
        let user_namespace = user_namespace.as_raw_fd().unsigned_abs().into();
        let attributes = Attributes { set: MOUNT_ATTR_IDMAP, user_namespace, ..Default::default() };
        change(&self.0, &attributes, recursive)
    }

    /// Mounts the tree over `at`.
    pub(crate) fn attach(&self, at: &Path) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        Ok(move_mount(&self.0, "", CWD, at, flags)?)
    }
}

fn with_depth(flags: OpenTreeFlags, recursive: bool) -> OpenTreeFlags {
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// Makes the mount `to` a peer, or a slave, of what `from` is one of: both are roots of mounts of
/// one file system, and `to` is private (Linux 5.15).
pub(crate) fn share(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: two descriptors that live through the call, and empty paths.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            to.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_SET_GROUP | MOVE_MOUNT_BOTH_EMPTY,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes what is mounted at `path` read-only; what is mounted below stays as it is.
pub(crate) fn make_read_only(path: &Path) -> io::Result<()> {
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    change(opened, &Attributes { set: MOUNT_ATTR_RDONLY, ..Default::default() }, false)
}

/// Forbids, of what is mounted at `path` and below, what these words say (mount(8)).
pub(crate) fn restrict(path: &Path, words: &[String]) -> io::Result<()> {
    let bit = |word: &String| match word.as_str() {
        "nosuid" | "rnosuid" => MOUNT_ATTR_NOSUID,
        "nodev" | "rnodev" => MOUNT_ATTR_NODEV,
        "noexec" | "rnoexec" => MOUNT_ATTR_NOEXEC,
        "ro" | "rro" => MOUNT_ATTR_RDONLY,
        _ => 0,
    };
    let set = words.iter().map(bit).fold(0, |all, bit| all | bit);
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    change(opened, &Attributes { set, ..Default::default() }, true)
}

/// Keeps what is mounted at `path` from being a way to devices.
pub(crate) fn forbid_devices(path: &Path) -> io::Result<()> {
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    change(opened, &Attributes { set: MOUNT_ATTR_NODEV, ..Default::default() }, false)
}

fn change(mount: impl AsFd, attributes: &Attributes, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attributes` has the form that its size says, and lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
