//! Turns entries of a layer's archive into files.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec};
use rustix::io::Errno;
use tar::EntryType;

use super::account::Account;
use super::archive::{Archive, Entry, shown};
use super::confined::{self, Confined};
use super::metadata::{Metadata, mtime, times};
use super::{Fault, Limits, Privilege};
use crate::disk;

/// Names of directories kept in memory until their times are set, in bytes.
const MAX_DIRECTORIES: usize = 32 * 1024 * 1024;
/// How deep a name may lead. The kernel would take 2,047 directories, each made of two bytes.
const MAX_DEPTH: usize = 256;

/// A layer that is being unpacked.
#[derive(Debug)]
pub(super) struct Tree {
    confined: Confined,
    privilege: Privilege,
    metadata: Metadata,
    account: Account,
    /// Directories whose modes and times are set last: what is made in them changes their times,
    /// and an ordinary user could not write into a read-only one.
    directories: Vec<(PathBuf, Mode, Timespec)>,
    directories_size: usize,
}

impl Tree {
    pub(super) fn new(root: OwnedFd, privilege: Privilege, limits: Limits) -> Result<Self, Fault> {
        let metadata = Metadata::below(&root, privilege);
        let confined = Confined::new(root, privilege);
        let account = Account::open(confined.root(), limits)?;
        let directories = Vec::new();
        Ok(Self { confined, privilege, metadata, account, directories, directories_size: 0 })
    }

    /// Adds one entry, reading its data from `archive`.
    pub(super) fn add(
        &mut self,
        entry: &Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), Fault> {
        let path = clean(&entry.path)?;
        let attributes: usize =
            entry.xattrs.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.account.files(1)?;
        self.account.bytes(attributes as u64)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return self.root(entry);
        };
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            return self.whiteout(entry, parent, hidden);
        }
        match entry.kind {
            EntryType::Directory => {
                self.directory(entry, &path, parent, name)?;
                self.later(&path, entry)?;
            }
            EntryType::Regular | EntryType::Continuous => {
                self.file(entry, parent, name, archive)?;
            }
            EntryType::Symlink => self.symlink(entry, parent, name)?,
            EntryType::Link => self.hard_link(entry, parent, name)?,
            EntryType::Fifo => self.fifo(entry, parent, name)?,
            EntryType::Char | EntryType::Block => {
                tracing::debug!(path = %entry.shown(), "device node in a layer, ignoring");
            }
            EntryType::GNUSparse => return Err(entry.refused("sparse files are not supported")),
            kind => {
                tracing::debug!(path = %entry.shown(), ?kind, "unknown entry in a layer, ignoring");
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

    /// The directory that an entry is in. Those on the way that the archive does not list count as if
    /// it did: one name makes as many as it is deep.
    fn parent(&mut self, entry: &Entry, path: &Path) -> Result<Rc<OwnedFd>, Fault> {
        let dir = self.confined.directory(path);
        self.account.files(self.confined.take_made())?;
        dir.map_err(|cause| entry.failed(cause))
    }

    fn root(&mut self, entry: &Entry) -> Result<(), Fault> {
        if entry.kind != EntryType::Directory {
            return Err(Fault::Entry { path: "/".to_owned(), why: "the root is no directory" });
        }
        let root = self.confined.root();
        self.metadata.dress(&*root, entry)?;
        self.metadata.attributes(&*root, entry, &self.account)?;
        self.later(Path::new(""), entry)
    }

    fn directory(
        &mut self,
        entry: &Entry,
        path: &Path,
        parent: &Path,
        name: &OsStr,
    ) -> Result<(), Fault> {
        let dir = self.parent(entry, parent)?;
        let exact = self.metadata.exact(entry);
        let found = self
            .make_directory(&dir, name, exact.unwrap_or(Mode::RWXU))
            .map_err(|cause| entry.failed(cause))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&*dir, name, flags, Mode::empty())
            .map_err(|cause| entry.failed(cause))?;
        if exact.is_none() || matches!(found, Found::Directory) {
            self.metadata.dress(&made, entry)?;
        }
        self.metadata.attributes(&made, entry, &self.account)?;
        if matches!(found, Found::Whiteout) {
            // The mark came first: the lower layers' directory stays hidden.
            self.confined.mark_opaque(&made).map_err(|cause| entry.failed(cause))?;
        }
        self.confined.remember(path, made);
        Ok(())
    }

    /// Makes a directory where there is none, and says what was there.
    fn make_directory(&mut self, dir: &OwnedFd, name: &OsStr, mode: Mode) -> io::Result<Found> {
        let Err(cause) = rustix::fs::mkdirat(dir, name, mode) else { return Ok(Found::Nothing) };
        let there = confined::stat(dir, name)?.filter(|_| cause == Errno::EXIST).ok_or(cause)?;
        if confined::is_directory(&there) {
            return Ok(Found::Directory);
        }
        self.clear(dir, name)?;
        rustix::fs::mkdirat(dir, name, mode)?;
        Ok(if confined::is_whiteout(&there) { Found::Whiteout } else { Found::Nothing })
    }

    fn file(
        &mut self,
        entry: &Entry,
        parent: &Path,
        name: &OsStr,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), Fault> {
        let dir = self.parent(entry, parent)?;
        let exact = self.metadata.exact(entry);
        let mut file = self
            .make_file(&dir, name, exact.unwrap_or(Mode::RUSR))
            .map_err(|cause| entry.failed(cause))?;
        while archive.left() > 0 {
            let piece = archive.data()?;
            file.write_all(piece).map_err(|cause| entry.failed(cause))?;
            let count = piece.len();
            archive.consume(count);
            self.account.bytes(count as u64)?;
        }
        if exact.is_none() {
            self.metadata.dress(&file, entry)?;
        }
        self.metadata.attributes(&file, entry, &self.account)?;
        rustix::fs::futimens(&file, &times(mtime(entry))).map_err(|cause| entry.failed(cause))
    }

    fn make_file(&mut self, dir: &OwnedFd, name: &OsStr, mode: Mode) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let open = || rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, mode);
        let fd = match open() {
            Err(Errno::EXIST) => {
                self.clear(dir, name)?;
                open()
            }
            opened => opened,
        };
        Ok(fd?.into())
    }

    fn symlink(&mut self, entry: &Entry, parent: &Path, name: &OsStr) -> Result<(), Fault> {
        let dir = self.parent(entry, parent)?;
        let target = OsStr::from_bytes(&entry.link);
        let link = || rustix::fs::symlinkat(target, &*dir, name);
        let made = match link() {
            Err(Errno::EXIST) => {
                self.clear(&*dir, name).map_err(|cause| entry.failed(cause))?;
                link()
            }
            made => made,
        };
        made.map_err(|cause| entry.failed(cause))?;
        self.metadata.dress_name(&*dir, name, entry)
    }

    /// A second name for a file of this layer. The entry's owner, mode and times are the file's.
    fn hard_link(&mut self, entry: &Entry, parent: &Path, name: &OsStr) -> Result<(), Fault> {
        let target = clean(&entry.link)?;
        let (Some(target_parent), Some(target_name)) = (target.parent(), target.file_name()) else {
            return Err(entry.refused("a hard link to the layer's root"));
        };
        let dir = self.parent(entry, parent)?;
        let target_dir = self.parent(entry, target_parent)?;
        self.link((&*target_dir, target_name), (&*dir, name))
            .map_err(|cause| entry.failed(cause))?;
        self.metadata.dress_linked(&dir, name, entry, &self.account)
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

    fn fifo(&mut self, entry: &Entry, parent: &Path, name: &OsStr) -> Result<(), Fault> {
        let dir = self.parent(entry, parent)?;
        let failed = |cause| entry.failed(cause);
        self.clear(&*dir, name).map_err(failed)?;
        rustix::fs::mknodat(&*dir, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .map_err(|cause| entry.failed(cause))?;
        self.metadata.dress_name(&*dir, name, entry)?;
        // Just made, and no link; fchmodat(2) follows none that is not there.
        rustix::fs::chmodat(&*dir, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
            .map_err(|cause| entry.failed(cause))
    }

    /// `.wh.NAME` hides NAME of the layers below; `.wh..wh..opq` all that they have in this
    /// directory (image-spec, `layer.md`, "Whiteouts").
    fn whiteout(&mut self, entry: &Entry, parent: &Path, hidden: &[u8]) -> Result<(), Fault> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(entry.refused("a whiteout that names nothing"));
        }
        let dir = self.parent(entry, parent)?;
        if hidden == b".wh..opq" {
            return self.confined.mark_opaque(&*dir).map_err(|cause| entry.failed(cause));
        }
        if hidden.starts_with(b".wh.") {
            // Bookkeeping of aufs, which older builders leave behind.
            return Ok(());
        }
        self.hide(&dir, OsStr::from_bytes(hidden)).map_err(|cause| entry.failed(cause))
    }

    fn hide(&self, dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let device = FileType::CharacterDevice;
        match rustix::fs::mknodat(dir, name, device, Mode::empty(), 0) {
            Err(Errno::EXIST) => match confined::stat(dir, name)? {
                // This layer has its own: a file covers the lower one anyway.
                Some(there) if confined::is_directory(&there) => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                    let flags = flags | OFlags::CLOEXEC;
                    let below = rustix::fs::openat(dir, name, flags, Mode::empty())?;
                    self.confined.mark_opaque(&below)
                }
                _ => Ok(()),
            },
            made => Ok(made?),
        }
    }

    /// Makes room for an entry that comes a second time, as something else.
    fn clear(&mut self, dir: impl AsFd, name: &OsStr) -> io::Result<()> {
        disk::remove_tree_at(dir, name)?;
        self.confined.forget();
        Ok(())
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

/// What was where a directory is to be.
enum Found {
    Nothing,
    Directory,
    Whiteout,
}

/// An entry's path relative to the root. A `..` never comes from a builder.
fn clean(path: &[u8]) -> Result<PathBuf, Fault> {
    let refused = |why| Err(Fault::Entry { path: shown(path), why });
    if path.contains(&0) {
        return refused("a zero byte in the name");
    }
    let mut cleaned = PathBuf::new();
    for (depth, component) in Path::new(OsStr::from_bytes(path)).components().enumerate() {
        match component {
            _ if depth > MAX_DEPTH => return refused("a name of more than 256 directories"),
            Component::Normal(name) => cleaned.push(name),
            Component::CurDir | Component::RootDir => {}
            _ => return refused("\"..\" in the name"),
        }
    }
    Ok(cleaned)
}
