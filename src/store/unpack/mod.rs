//! Unpacks one layer into a directory that overlayfs takes as a `lowerdir` (image-spec,
//! `layer.md`; the kernel's `filesystems/overlayfs`).
//!
//! Architecture invariant: nothing outside of the directory is touched, whatever the layer holds.
//! Every path is resolved by the kernel with `openat2(RESOLVE_IN_ROOT)`, the last component is
//! never followed, and files are only ever made anew (`O_EXCL`).
//!
//! What must not live here: downloads, decompression, digests.

mod account;
mod archive;
mod birth;
mod confined;
mod copy;
mod metadata;
mod tree;

use std::io::{self, BufRead};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub(crate) use self::account::Account;
pub(super) use self::account::check_fits;
pub(crate) use self::archive::{Archive, Entry};
pub(super) use self::copy::{Owners, copy};
use crate::model::failure::excerpt;
use crate::model::min_free::refusal;
use crate::model::{FailureKind, MinFree};

/// What a compressed layer is reckoned to unpack to, by its size: no manifest says it. The images that most
/// hosts run, from Alpine's to Python's, unpack to 2.3 to 3.0 times their size.
pub(super) const EXPANSION: u64 = 3;

/// How much one layer may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed archive of one layer.
    pub bytes: u64,
    /// How many times as large as its blob it may be, where it has more than `ratio_from` bytes.
    pub ratio: u64,
    pub ratio_from: u64,
    /// Entries of one layer, with the directories that it has no entries for.
    pub entries: u64,
    /// What an unpacking leaves free of the disk.
    pub min_free: MinFree,
    /// To so many times their size compressed layers are reckoned to grow, before the first of them is
    /// fetched. What is sure of them all is 1.
    pub expansion: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Limits {
    /// Far above any image in use (the largest, with models in them, have layers of some 20 GiB
    /// and under a million entries), far below what would wear a disk out. The reserve is what
    /// keeps a full disk away.
    pub const DEFAULT: Self = Self {
        bytes: 64 * 1024 * 1024 * 1024,
        ratio: 200,
        ratio_from: 1024 * 1024 * 1024,
        entries: 5_000_000,
        min_free: MinFree::DEFAULT,
        expansion: 1,
    };

    /// For a pull that is not begun where it may well leave less free than that.
    pub fn leaving(min_free: MinFree) -> Self {
        let expansion = if min_free.is_off() { 1 } else { EXPANSION };
        Self { min_free, expansion, ..Self::DEFAULT }
    }

    /// Whether a layer may have `unpacked` bytes, when `compressed` of its blob have come.
    pub(super) fn check_size(&self, unpacked: u64, compressed: u64) -> Result<(), Fault> {
        if unpacked > self.bytes {
            return Err(Fault::TooLarge(self.bytes));
        }
        if unpacked > self.ratio_from && unpacked > compressed.saturating_mul(self.ratio) {
            return Err(Fault::Ratio { unpacked, compressed });
        }
        Ok(())
    }
}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("the compressed data cannot be read")]
    Stream(#[source] io::Error),
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    #[error("the archive is not valid: {0}")]
    Malformed(String),
    #[error("entry {path:?}: {why}")]
    Entry { path: String, why: &'static str },
    #[error(
        "entry {path:?} belongs to user {uid} and group {gid}, which are not among the user's \
         subordinate IDs: see /etc/subuid and /etc/subgid"
    )]
    Owner { path: String, uid: u32, gid: u32 },
    /// The entry is at fault: it cannot be on any disk.
    #[error("entry {path:?} cannot be unpacked")]
    Unfit { path: String, source: io::Error },
    /// The host is.
    #[error("entry {path:?} cannot be unpacked")]
    Io { path: String, source: io::Error },
    #[error("the layer unpacks to more than {0} bytes")]
    TooLarge(u64),
    #[error("{compressed} bytes of the layer unpack to {unpacked}, as those of no image do")]
    Ratio { unpacked: u64, compressed: u64 },
    #[error("the layer has more than {0} entries")]
    TooMany(u64),
    #[error("the layer's directories have names of more than {0} bytes together")]
    TooManyDirectories(usize),
    #[error("only {free} bytes are free on the disk, and {reserve} are to stay so")]
    NoSpace { free: u64, reserve: u64 },
    /// Before anything was downloaded.
    #[error("{}", refusal(*needed, *free, *reserve))]
    TooLittle { free: u64, needed: u64, reserve: u64 },
    #[error("the disk has only {free} free inodes, and {reserve} are to stay so")]
    NoInodes { free: u64, reserve: u64 },
    #[error("the free space of the disk cannot be read")]
    Statfs(#[source] io::Error),
}

impl Fault {
    fn malformed(cause: io::Error) -> Self {
        Self::Malformed(excerpt(&cause.to_string()))
    }

    /// What the kernel said of an entry. Its path is looked up from the layer's root: where the names,
    /// the links or the numbers on the way are not what can be, they are the archive's.
    fn of_entry(path: String, source: io::Error) -> Self {
        let errno = source.raw_os_error().map(Errno::from_raw_os_error);
        let of_entry = matches!(
            errno,
            Some(
                Errno::NAMETOOLONG
                    | Errno::NOENT
                    | Errno::NOTDIR
                    | Errno::ISDIR
                    | Errno::LOOP
                    | Errno::INVAL
                    | Errno::RANGE
                    | Errno::TOOBIG
                    | Errno::MLINK
            )
        );
        if of_entry { Self::Unfit { path, source } } else { Self::Io { path, source } }
    }

    /// The kind of failure, which decides about the next attempt.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Io { source, .. } => FailureKind::of_io(source),
            Self::NoSpace { .. } | Self::TooLittle { .. } | Self::NoInodes { .. } => {
                FailureKind::StorageFull
            }
            Self::Statfs(_) => FailureKind::Local,
            Self::Owner { .. } => FailureKind::Configuration,
            _ => FailureKind::InvalidContent,
        }
    }
}

/// Whose extended attributes overlayfs reads (`userxattr` mounts read `user.overlay.*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Privilege {
    Root,
    /// Root of a user namespace: attributes are those of `userxattr`.
    Mapped,
    /// Owners are not set, modes of directories come last, attributes are those of `userxattr`.
    User,
}

impl Privilege {
    fn current() -> Self {
        match (rustix::process::geteuid().is_root(), for_userxattr()) {
            (true, false) => Self::Root,
            (true, true) => Self::Mapped,
            (false, _) => Self::User,
        }
    }

    /// The attribute that hides all that the layers below have in a directory.
    fn opaque(self) -> &'static str {
        match self {
            Self::Root => "trusted.overlay.opaque",
            Self::Mapped | Self::User => "user.overlay.opaque",
        }
    }
}

/// Whether the layers that this process unpacks are for overlays mounted with `userxattr`: only the
/// host's own root may set, and have overlayfs read, attributes that are `trusted.*` (xattr(7)).
pub fn for_userxattr() -> bool {
    // Not everywhere is there a /proc; but where namespaces are made, there is.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_initial = map.is_empty() || map.split_whitespace().eq(["0", "0", "4294967295"]);
    !rustix::process::geteuid().is_root() || !is_initial
}

/// Unpacks the archive that `reader` gives into the empty directory `root`, and reads `reader` to
/// its end.
///
/// Device nodes are left out: containers get their own `/dev`, and a node in an image is either
/// useless or an attack. Attributes other than `security.capability` and `user.*` are dropped.
pub(super) fn unpack(root: OwnedFd, reader: impl BufRead, limits: &Limits) -> Result<(), Fault> {
    let mut archive = Archive::new(reader);
    let mut tree = tree::Tree::new(root, Privilege::current(), *limits)?;
    while let Some(entry) = archive.next()? {
        tree.add(&entry, &mut archive)?;
    }
    tree.finish()?;
    archive::drain(archive.into_inner()).map_err(Fault::Stream)
}

/// Opens the directory that a layer is unpacked into.
pub(super) fn open_root(path: &std::path::Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests;
