//! Directories below a layer's root, opened so that no link leads out of it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// A layer's root, and the directory used last: archives list directories one after the other.
#[derive(Debug)]
pub(super) struct Confined {
    root: Rc<OwnedFd>,
    last: Option<(PathBuf, Rc<OwnedFd>)>,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Confined {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root: Rc::new(root), last: None }
    }

    pub(super) fn root(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.root)
    }

    /// The directory `path` (relative, no `..`), made where it is missing with 0755, as other
    /// engines make parents that the archive does not list. Links on the way are followed within
    /// the root; one that leads to nothing is an error.
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
            Err(Errno::NOENT) => {
                self.create(path)?;
                self.open(path, ResolveFlags::empty())
            }
            opened => opened,
        };
        Ok(self.remember(path, fd?))
    }

    /// Makes the missing ones among `path` and its parents.
    fn create(&self, path: &Path) -> Result<(), Errno> {
        let mut made = PathBuf::new();
        let mut parent = self.root();
        for name in path.iter() {
            made.push(name);
            parent = Rc::new(match self.open(&made, ResolveFlags::empty()) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&*parent, name, Mode::from_raw_mode(0o755)) {
                        // A link to nothing: the second try says so.
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(cause) => return Err(cause),
                    }
                    let dir = self.open(&made, ResolveFlags::empty())?;
                    // Whatever the umask made of it.
                    rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o755))?;
                    dir
                }
                opened => opened?,
            });
        }
        Ok(())
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
