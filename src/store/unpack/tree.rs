//! Turns entries of a layer's archive into files.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::archive::{Archive, Entry};
use super::birth::Birth;
use super::confined::{self, Confined};
use super::{Fault, Limits, Privilege, check_space};
use crate::disk;

/// Names of directories kept in memory until their times are set, in bytes.
const MAX_DIRECTORIES: usize = 32 * 1024 * 1024;
/// The free space is looked at whenever so much was written. A file costs at least a block.
const SPACE_STEP: u64 = 8 * 1024 * 1024;
const FILE_COST: u64 = 4096;

/// A layer that is being unpacked.
#[derive(Debug)]
pub(super) struct Tree {
    confined: Confined,
    privilege: Privilege,
    limits: Limits,
    /// Directories whose modes and times are set last: what is made in them changes their times,
    /// and an ordinary user could not write into a read-only one.
    directories: Vec<(PathBuf, Mode, Timespec)>,
    directories_size: usize,
    /// Bytes written since the free space was looked at.
    written: u64,
    birth: Birth,
}

impl Tree {
    pub(super) fn new(root: OwnedFd, privilege: Privilege, limits: Limits) -> Result<Self, Fault> {
        check_space(&root, &limits)?;
        Ok(Self {
            birth: Birth::below(&root, privilege),
            confined: Confined::new(root),
            privilege,
            limits,
            directories: Vec::new(),
            directories_size: 0,
            written: 0,
        })
    }

    /// Adds one entry, reading its data from `archive`.
    pub(super) fn add(
        &mut self,
        entry: Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), Fault> {
        let (uid, gid) = (entry.uid, entry.gid);
        match self.add_any(entry, archive) {
            // What chown(2) says of a user that the namespace has not.
            Err(Fault::Io { path, source })
                if self.privilege == Privilege::Mapped
                    && source.raw_os_error() == Some(Errno::INVAL.raw_os_error()) =>
            {
                Err(Fault::Owner { path, uid, gid })
            }
            added => added,
        }
    }

    fn add_any(&mut self, entry: Entry, archive: &mut Archive<impl BufRead>) -> Result<(), Fault> {
        let path = clean(&entry.path)?;
        let attributes: usize =
            entry.xattrs.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.account(FILE_COST + attributes as u64)?;
        let failed = |source| Fault::Io { path: shown(&entry.path), source };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return self.root(&entry);
        };
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            return self.whiteout(&entry, parent, hidden);
        }
        match entry.kind {
            EntryType::Directory => {
                self.directory(&entry, &path, parent, name).map_err(failed)?;
                self.later(&path, &entry)?;
            }
            EntryType::Regular | EntryType::Continuous => {
                self.file(&entry, parent, name, archive)?;
            }
            EntryType::Symlink => self.symlink(&entry, parent, name).map_err(failed)?,
            EntryType::Link => self.hard_link(&entry, parent, name)?,
            EntryType::Fifo => self.fifo(&entry, parent, name).map_err(failed)?,
            EntryType::Char | EntryType::Block => {
                tracing::debug!(path = %shown(&entry.path), "device node in a layer, ignoring");
            }
            EntryType::GNUSparse => {
                return Err(Fault::Entry {
                    path: shown(&entry.path),
                    why: "sparse files are not supported",
                });
            }
            kind => {
                tracing::debug!(path = %shown(&entry.path), ?kind, "unknown entry in a layer, ignoring");
            }
        }
        Ok(())
    }

    /// Sets what had to wait until all was unpacked.
    pub(super) fn finish(self) -> Result<(), Fault> {
        // Below first: a mode may forbid the way.
        for (path, mode, mtime) in self.directories.iter().rev() {
            let set = || -> io::Result<()> {
                let Some(dir) = self.confined.existing(path)? else { return Ok(()) };
                if self.privilege == Privilege::User {
                    rustix::fs::fchmod(&dir, *mode)?;
                }
                Ok(rustix::fs::futimens(&dir, &times(*mtime))?)
            };
            let name = path.as_os_str().as_bytes();
            set().map_err(|source| Fault::Io { path: shown(name), source })?;
        }
        Ok(())
    }

    /// Counts what was written, and looks at the free space now and then.
    fn account(&mut self, bytes: u64) -> Result<(), Fault> {
        self.written += bytes;
        if self.written < SPACE_STEP {
            return Ok(());
        }
        self.written = 0;
        check_space(self.confined.root(), &self.limits)
    }

    fn root(&mut self, entry: &Entry) -> Result<(), Fault> {
        let failed = |source| Fault::Io { path: "/".to_owned(), source };
        if entry.kind != EntryType::Directory {
            return Err(Fault::Entry { path: "/".to_owned(), why: "the root is no directory" });
        }
        let root = self.confined.root();
        self.dress(&*root, entry).map_err(failed)?;
        self.attributes(&*root, entry).map_err(failed)?;
        self.later(Path::new(""), entry)
    }

    fn directory(
        &mut self,
        entry: &Entry,
        path: &Path,
        parent: &Path,
        name: &OsStr,
    ) -> io::Result<()> {
        let dir = self.confined.directory(parent)?;
        let mut opaque = false;
        let exact = self.birth.is_exact(entry);
        let mode = if exact { Mode::from_raw_mode(entry.mode) } else { Mode::RWXU };
        let mut exists = false;
        if let Err(cause) = rustix::fs::mkdirat(&*dir, name, mode) {
            let there = confined::stat(&*dir, name)?;
            match there {
                Some(there) if cause == Errno::EXIST && confined::is_directory(&there) => {
                    exists = true;
                }
                Some(there) if cause == Errno::EXIST => {
                    // A whiteout that came first: the lower layers' directory stays hidden.
                    opaque = confined::is_whiteout(&there);
                    self.clear(&*dir, name)?;
                    rustix::fs::mkdirat(&*dir, name, mode)?;
                }
                _ => return Err(cause.into()),
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&*dir, name, flags, Mode::empty())?;
        if exists || !exact {
            self.dress(&made, entry)?;
        }
        self.attributes(&made, entry)?;
        if opaque {
            self.mark_opaque(&made)?;
        }
        self.confined.remember(path, made);
        Ok(())
    }

    fn file(
        &mut self,
        entry: &Entry,
        parent: &Path,
        name: &OsStr,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), Fault> {
        let failed = |source: io::Error| Fault::Io { path: shown(&entry.path), source };
        let exact = self.birth.is_exact(entry);
        let mode = if exact { Mode::from_raw_mode(entry.mode) } else { Mode::RUSR };
        let create = |tree: &mut Self| -> io::Result<File> {
            let dir = tree.confined.directory(parent)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let open = || rustix::fs::openat(&*dir, name, flags | OFlags::CLOEXEC, mode);
            let fd = match open() {
                Err(Errno::EXIST) => {
                    tree.clear(&*dir, name)?;
                    open()
                }
                opened => opened,
            };
            Ok(fd?.into())
        };
        let mut file = create(self).map_err(failed)?;
        while archive.left() > 0 {
            let piece = archive.data()?;
            file.write_all(piece).map_err(failed)?;
            let count = piece.len();
            archive.consume(count);
            self.account(count as u64)?;
        }
        let dressed = if exact { Ok(()) } else { self.dress(&file, entry) };
        dressed
            .and_then(|()| self.attributes(&file, entry))
            .and_then(|()| Ok(rustix::fs::futimens(&file, &times(mtime(entry)))?))
            .map_err(failed)
    }

    fn symlink(&mut self, entry: &Entry, parent: &Path, name: &OsStr) -> io::Result<()> {
        let dir = self.confined.directory(parent)?;
        let target = OsStr::from_bytes(&entry.link);
        if let Err(cause) = rustix::fs::symlinkat(target, &*dir, name) {
            if cause != Errno::EXIST {
                return Err(cause.into());
            }
            self.clear(&*dir, name)?;
            rustix::fs::symlinkat(target, &*dir, name)?;
        }
        self.dress_name(&*dir, name, entry)
    }

    /// A second name for a file of this layer. The entry's owner, mode and times are the file's.
    fn hard_link(&mut self, entry: &Entry, parent: &Path, name: &OsStr) -> Result<(), Fault> {
        let failed = |source: io::Error| Fault::Io { path: shown(&entry.path), source };
        let target = clean(&entry.link)?;
        let (Some(target_parent), Some(target_name)) = (target.parent(), target.file_name()) else {
            return Err(Fault::Entry {
                path: shown(&entry.path),
                why: "a hard link to the layer's root",
            });
        };
        let dir = self.confined.directory(parent).map_err(failed)?;
        let target_dir = self.confined.directory(target_parent).map_err(failed)?;
        self.link((&*target_dir, target_name), (&*dir, name))
            .and_then(|()| self.dress_linked(&dir, name, entry))
            .map_err(failed)
    }

    /// Neither name is followed.
    fn link(&mut self, from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> io::Result<()> {
        let link = || rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {}
            linked => return Ok(linked?),
        }
        let inode = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let (there, target) = (confined::stat(to.0, to.1)?, confined::stat(from.0, from.1)?);
        // Removing a name to make the same one again could remove the file itself.
        if target.is_none() || there.map(inode) == target.map(inode) {
            return if target.is_some() { Ok(()) } else { Err(Errno::NOENT.into()) };
        }
        self.clear(to.0, to.1)?;
        Ok(link()?)
    }

    fn dress_linked(&mut self, dir: &OwnedFd, name: &OsStr, entry: &Entry) -> io::Result<()> {
        let Some(stat) = confined::stat(dir, name)? else { return Ok(()) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let same =
            (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (entry.uid, entry.gid, entry.mode);
        // Setting an owner, even the same one, drops the file's capabilities.
        if !same && self.privilege != Privilege::User {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            self.dress(&file, entry)?;
            self.attributes(&file, entry)?;
        }
        let times = times(mtime(entry));
        Ok(rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn fifo(&mut self, entry: &Entry, parent: &Path, name: &OsStr) -> io::Result<()> {
        let dir = self.confined.directory(parent)?;
        self.clear(&*dir, name)?;
        rustix::fs::mknodat(&*dir, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        self.dress_name(&*dir, name, entry)?;
        // Just made, and no link; fchmodat(2) follows none that is not there.
        rustix::fs::chmodat(&*dir, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
        Ok(())
    }

    /// `.wh.NAME` hides NAME of the layers below; `.wh..wh..opq` all that they have in this
    /// directory (image-spec, `layer.md`, "Whiteouts").
    fn whiteout(&mut self, entry: &Entry, parent: &Path, hidden: &[u8]) -> Result<(), Fault> {
        let failed = |source: io::Error| Fault::Io { path: shown(&entry.path), source };
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Fault::Entry {
                path: shown(&entry.path),
                why: "a whiteout that names nothing",
            });
        }
        let mut make = || -> io::Result<()> {
            let dir = self.confined.directory(parent)?;
            if hidden == b".wh..opq" {
                return self.mark_opaque(&*dir);
            }
            if hidden.starts_with(b".wh.") {
                // Bookkeeping of aufs, which older builders leave behind.
                return Ok(());
            }
            let name = OsStr::from_bytes(hidden);
            let device = FileType::CharacterDevice;
            match rustix::fs::mknodat(&*dir, name, device, Mode::empty(), 0) {
                Err(Errno::EXIST) => match confined::stat(&*dir, name)? {
                    // This layer has its own: a file covers the lower one anyway.
                    Some(there) if confined::is_directory(&there) => {
                        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                        let flags = flags | OFlags::CLOEXEC;
                        let below = rustix::fs::openat(&*dir, name, flags, Mode::empty())?;
                        self.mark_opaque(&below)
                    }
                    _ => Ok(()),
                },
                made => Ok(made?),
            }
        };
        make().map_err(failed)
    }

    fn mark_opaque(&self, dir: impl AsFd) -> io::Result<()> {
        let name = match self.privilege {
            Privilege::Root => "trusted.overlay.opaque",
            Privilege::Mapped | Privilege::User => "user.overlay.opaque",
        };
        Ok(rustix::fs::fsetxattr(dir, name, b"y", XattrFlags::empty())?)
    }

    /// Makes room for an entry that comes a second time, as something else.
    fn clear(&mut self, dir: impl AsFd, name: &OsStr) -> io::Result<()> {
        disk::remove_tree_at(dir, name)?;
        self.confined.forget();
        Ok(())
    }

    /// Owner and mode of an open file, in this order, and before its attributes: a new owner takes
    /// setuid bits and capabilities away.
    fn dress(&mut self, fd: impl AsFd, entry: &Entry) -> io::Result<()> {
        let mut mode = Mode::from_raw_mode(entry.mode);
        match self.privilege {
            Privilege::Root | Privilege::Mapped => {
                let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
                rustix::fs::fchown(&fd, Some(uid), Some(gid))?;
                if entry.kind == EntryType::Directory {
                    self.birth.directory(entry);
                }
            }
            Privilege::User if entry.kind == EntryType::Directory => mode |= Mode::RWXU,
            Privilege::User => {}
        }
        Ok(rustix::fs::fchmod(&fd, mode)?)
    }

    fn attributes(&self, fd: impl AsFd, entry: &Entry) -> io::Result<()> {
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| keeps(name)) {
            let set =
                rustix::fs::fsetxattr(&fd, OsStr::from_bytes(name), value, XattrFlags::empty());
            match set {
                Err(Errno::PERM) if self.privilege != Privilege::Root => {}
                // A file system without them; a lost capability would break what needs it.
                Err(Errno::NOTSUP) if name.starts_with(b"user.") => {}
                set => set?,
            }
        }
        Ok(())
    }

    /// Owner and times of something that is not opened: a link or a fifo.
    fn dress_name(&self, dir: impl AsFd, name: &OsStr, entry: &Entry) -> io::Result<()> {
        if self.privilege != Privilege::User && !self.birth.is_owned(entry) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let times = times(mtime(entry));
        Ok(rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn later(&mut self, path: &Path, entry: &Entry) -> Result<(), Fault> {
        self.directories_size += path.as_os_str().len() + size_of::<(PathBuf, Mode, Timespec)>();
        if self.directories_size > MAX_DIRECTORIES {
            return Err(Fault::TooManyDirectories(MAX_DIRECTORIES));
        }
        let mode = Mode::from_raw_mode(entry.mode);
        self.directories.push((path.to_owned(), mode, mtime(entry)));
        Ok(())
    }
}

/// Attributes that an image may set. `trusted.*` and the overlay's own would steer the mount.
fn keeps(name: &[u8]) -> bool {
    name == b"security.capability"
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// An entry's path relative to the root. A `..` never comes from a builder.
fn clean(path: &[u8]) -> Result<PathBuf, Fault> {
    let refused = |why| Err(Fault::Entry { path: shown(path), why });
    if path.contains(&0) {
        return refused("a zero byte in the name");
    }
    let mut cleaned = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::CurDir | Component::RootDir => {}
            _ => return refused("\"..\" in the name"),
        }
    }
    Ok(cleaned)
}

/// A path from outside, for a message.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect()
}

fn mtime(entry: &Entry) -> Timespec {
    Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1 }
}

fn times(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_count_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let root = super::super::open_root(dir.path()).unwrap();
        let mut tree = Tree::new(root, Privilege::User, Limits::default()).unwrap();
        let entry = Entry {
            kind: EntryType::Directory,
            path: b"d".to_vec(),
            link: Vec::new(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: [(b"trusted.x".to_vec(), vec![0; 60_000])].into(),
        };
        tree.add(entry, &mut Archive::new(&b""[..])).unwrap();
        assert_eq!(tree.written, FILE_COST + 60_009);
    }
}
