//! Directories below a layer's root, opened so that no link leads out of it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;

use super::Privilege;
use crate::disk;

/// A layer's root, and the directory used last: archives list directories one after the other.
#[derive(Debug)]
pub(super) struct Confined {
    root: Rc<OwnedFd>,
    last: Option<(PathBuf, Rc<OwnedFd>)>,
    privilege: Privilege,
    /// Directories that were made on the way, and not asked for yet.
    made: u64,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Confined {
    pub(super) fn new(root: OwnedFd, privilege: Privilege) -> Self {
        Self { root: Rc::new(root), last: None, privilege, made: 0 }
    }

    pub(super) fn root(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.root)
    }

    /// The directory `path` (relative, no `..`), made where it is missing with 0755, as other
    /// engines make parents that the archive does not list; [`Confined::take_made`] says how many
    /// that were. Links on the way are followed within the root; one that leads to no directory is an
    /// error.
    pub(super) fn directory(&mut self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        if path.as_os_str().is_empty() {
            return Ok(self.root());
        }
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match self.open(path, ResolveFlags::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.create(path)?,
            opened => opened?,
        };
        Ok(self.remember(path, fd))
    }

    /// How many directories [`Confined::directory`] has made since this was last asked.
    pub(super) fn take_made(&mut self) -> u64 {
        std::mem::take(&mut self.made)
    }

    /// Makes the missing ones among `path` and its parents. From below, because most often only the
    /// last are missing, and none is opened twice: many long paths cost no more than what they make.
    fn create(&mut self, path: &Path) -> io::Result<OwnedFd> {
        let mut missing = vec![];
        let mut above = path;
        let mut dir = loop {
            let (Some(parent), Some(name)) = (above.parent(), above.file_name()) else {
                return Err(Errno::NOENT.into());
            };
            missing.push(name);
            above = parent;
            if above.as_os_str().is_empty() {
                break rustix::io::fcntl_dupfd_cloexec(&*self.root, 0)?;
            }
            match self.open(above, ResolveFlags::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                opened => break opened?,
            }
        };
        while let Some(name) = missing.pop() {
            dir = self.make(&dir, name)?;
        }
        Ok(dir)
    }

    /// Makes one directory. What the archive had there before goes, as it does for an entry; but for a
    /// link, which is not made to lead somewhere.
    fn make(&mut self, dir: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        let mode = Mode::from_raw_mode(0o755);
        let mut opaque = false;
        if let Err(cause) = rustix::fs::mkdirat(dir, name, mode) {
            let there = stat(dir, name)?.filter(|_| cause == Errno::EXIST).ok_or(cause)?;
            if FileType::from_raw_mode(there.st_mode) == FileType::Symlink {
                return Err(Errno::NOENT.into());
            }
            opaque = is_whiteout(&there);
            disk::remove_tree_at(dir, name)?;
            self.forget();
            rustix::fs::mkdirat(dir, name, mode)?;
        }
        self.made += 1;
        let made = rustix::fs::openat(dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        // Whatever the umask made of it.
        rustix::fs::fchmod(&made, mode)?;
        if opaque {
            self.mark_opaque(&made)?;
        }
        Ok(made)
    }

    /// Hides all that the layers below have in a directory.
    pub(super) fn mark_opaque(&self, dir: impl AsFd) -> io::Result<()> {
        Ok(rustix::fs::fsetxattr(dir, self.privilege.opaque(), b"y", XattrFlags::empty())?)
    }

    /// The directory `path` itself, no links followed; `None` where something else is there now.
    pub(super) fn existing(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        if path.as_os_str().is_empty() {
            return Ok(Some(rustix::io::fcntl_dupfd_cloexec(&*self.root, 0)?));
        }
        match self.open(path, ResolveFlags::NO_SYMLINKS) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Takes an open directory as the one used last.
    pub(super) fn remember(&mut self, path: &Path, fd: OwnedFd) -> Rc<OwnedFd> {
        let fd = Rc::new(fd);
        self.last = Some((path.to_owned(), Rc::clone(&fd)));
        fd
    }

    /// To be called when a directory or a link was removed: a remembered path may mean another
    /// directory now.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    fn open(&self, path: &Path, more: ResolveFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        loop {
            match rustix::fs::openat2(&*self.root, path, DIRECTORY, Mode::empty(), resolve) {
                // A rename somewhere on the system raced with a `..` in a link: openat2(2).
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
    }
}

/// What `name` in `dir` is, not followed; `None` for nothing.
pub(super) fn stat(dir: impl AsFd, name: &OsStr) -> io::Result<Option<rustix::fs::Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

pub(super) fn is_directory(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Overlayfs's mark that a name of the layers below is gone.
pub(super) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
