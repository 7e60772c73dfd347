//! Owner, mode, times and attributes: what makes a new file the one of its entry.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::account::Account;
use super::archive::Entry;
use super::birth::Birth;
use super::{Fault, Privilege, confined};

/// Sets it, as far as it is not right from the beginning.
#[derive(Debug)]
pub(super) struct Metadata {
    privilege: Privilege,
    birth: Birth,
}

impl Metadata {
    /// Of a tree below a new directory.
    pub(super) fn below(root: impl AsFd, privilege: Privilege) -> Self {
        Self { privilege, birth: Birth::below(root, privilege) }
    }

    /// The mode to make the entry's file with, if it needs no [`Metadata::dress`] then.
    pub(super) fn exact(&self, entry: &Entry) -> Option<Mode> {
        self.birth.is_exact(entry).then(|| Mode::from_raw_mode(entry.mode))
    }

    /// Owner and mode of an open file, in this order, and before its attributes: a new owner takes
    /// setuid bits and capabilities away.
    pub(super) fn dress(&mut self, fd: impl AsFd, entry: &Entry) -> Result<(), Fault> {
        let mut mode = Mode::from_raw_mode(entry.mode);
        match self.privilege {
            Privilege::Root | Privilege::Mapped => {
                let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
                rustix::fs::fchown(&fd, Some(uid), Some(gid))
                    .map_err(|cause| self.not_owned(entry, cause))?;
                if entry.kind == EntryType::Directory {
                    self.birth.directory(entry);
                }
            }
            Privilege::User if entry.kind == EntryType::Directory => mode |= Mode::RWXU,
            Privilege::User => {}
        }
        rustix::fs::fchmod(&fd, mode).map_err(|cause| entry.failed(cause))
    }

    /// Owner and times of something that is not opened: a link or a fifo.
    pub(super) fn dress_name(
        &self,
        dir: impl AsFd,
        name: &OsStr,
        entry: &Entry,
    ) -> Result<(), Fault> {
        if self.privilege != Privilege::User && !self.birth.is_owned(entry) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|cause| self.not_owned(entry, cause))?;
        }
        rustix::fs::utimensat(dir, name, &times(mtime(entry)), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|cause| entry.failed(cause))
    }

    /// A file that has another name already, which had its own entry.
    pub(super) fn dress_linked(
        &mut self,
        dir: &OwnedFd,
        name: &OsStr,
        entry: &Entry,
        account: &Account,
    ) -> Result<(), Fault> {
        let failed = |cause| entry.failed(cause);
        let Some(stat) = confined::stat(dir, name).map_err(failed)? else { return Ok(()) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let same =
            (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (entry.uid, entry.gid, entry.mode);
        // Setting an owner, even the same one, drops the file's capabilities.
        if !same && self.privilege != Privilege::User {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(dir, name, flags, Mode::empty())
                .map_err(|cause| entry.failed(cause))?;
            self.dress(&file, entry)?;
            self.attributes(&file, entry, account)?;
        }
        rustix::fs::utimensat(dir, name, &times(mtime(entry)), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|cause| entry.failed(cause))
    }

    /// Extended attributes of an open file. Of `user.*` those are left out that its file system does
    /// not have, or not of this size. A capability is not: what needs it would break.
    pub(super) fn attributes(
        &self,
        fd: impl AsFd,
        entry: &Entry,
        account: &Account,
    ) -> Result<(), Fault> {
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| keeps(name)) {
            let set =
                rustix::fs::fsetxattr(&fd, OsStr::from_bytes(name), value, XattrFlags::empty());
            match set {
                Err(Errno::PERM) if self.privilege != Privilege::Root => {}
                Err(cause) if name.starts_with(b"user.") && is_unfit(cause, account) => {
                    tracing::debug!(path = %entry.shown(), %cause, "attribute that the file system does not take, ignoring");
                }
                set => set.map_err(|cause| entry.failed(cause))?,
            }
        }
        Ok(())
    }

    /// Why an owner cannot be set.
    fn not_owned(&self, entry: &Entry, cause: Errno) -> Fault {
        // What chown(2) says of a user that the namespace has not.
        if self.privilege == Privilege::Mapped && cause == Errno::INVAL {
            return Fault::Owner { path: entry.shown(), uid: entry.uid, gid: entry.gid };
        }
        entry.failed(cause)
    }
}

/// Attributes that an image may set. `trusted.*` and the overlay's own would steer the mount.
fn keeps(name: &[u8]) -> bool {
    name == b"security.capability"
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// Whether it is this attribute that the file system has no place for. Of one that is too large some
/// say what they say where the disk is full.
fn is_unfit(cause: Errno, account: &Account) -> bool {
    match cause {
        Errno::NOTSUP | Errno::INVAL | Errno::RANGE | Errno::TOOBIG => true,
        Errno::NOSPC => account.has_room(),
        _ => false,
    }
}

pub(super) fn mtime(entry: &Entry) -> Timespec {
    Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1 }
}

pub(super) fn times(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}
