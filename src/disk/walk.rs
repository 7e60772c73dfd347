//! Going through a tree, however deep, without following any link.
//!
//! A descriptor for each level ends with EMFILE where somebody nested directories on purpose. Here
//! only those of the innermost levels are kept; the others are found again by `..`, and are an
//! error where somebody moved them meanwhile.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How many levels keep their descriptor.
const KEPT: usize = 64;

/// Something in a tree.
#[derive(Debug)]
pub struct Entry<'a> {
    /// From the top, without a slash at either end.
    pub path: &'a [u8],
    /// The directory it is in.
    pub dir: BorrowedFd<'a>,
    pub name: &'a CStr,
    pub stat: Stat,
}

impl Entry<'_> {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// A directory on the way from the top.
struct Level {
    dir: Option<OwnedFd>,
    /// To tell it when it is opened again.
    identity: (u64, u64),
    left: std::vec::IntoIter<CString>,
    /// How long the path is without this level's entry, in bytes.
    path: usize,
}

/// Shows `visit` all that is below `top`, a directory before what is in it, names in order. Where it
/// says `false`, a directory's entries are left out.
///
/// # Errors
/// What `visit` says, and whatever the file system does. What vanishes meanwhile is no error.
pub fn walk<E: From<io::Error>>(
    top: OwnedFd,
    visit: &mut dyn FnMut(&Entry<'_>) -> Result<bool, E>,
) -> Result<(), E> {
    let mut path = Vec::new();
    let mut levels = vec![level(top, 0)?];
    while let Some(here) = levels.last_mut() {
        path.truncate(here.path);
        let Some(name) = here.left.next() else {
            leave(&mut levels)?;
            continue;
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        let Some(dir) = &here.dir else { return Err(moved().into()) };
        let Some(stat) = status(dir, &name)? else { continue };
        let entry = Entry { path: &path, dir: dir.as_fd(), name: &name, stat };
        let is_directory = entry.kind() == FileType::Directory;
        if !visit(&entry)? || !is_directory {
            continue;
        }
        let below = match rustix::fs::openat(dir, &*name, DIRECTORY, Mode::empty()) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
            opened => opened.map_err(io::Error::from)?,
        };
        levels.push(level(below, path.len())?);
        let far = levels.len().checked_sub(KEPT + 1).and_then(|far| levels.get_mut(far));
        if let Some(far) = far {
            far.dir = None;
        }
    }
    Ok(())
}

fn level(dir: OwnedFd, path: usize) -> io::Result<Level> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    let identity = identity(&rustix::fs::fstat(&dir)?);
    Ok(Level { dir: Some(dir), identity, left: names.into_iter(), path })
}

/// Back to the directory above, whose descriptor may have to be had anew.
fn leave(levels: &mut Vec<Level>) -> io::Result<()> {
    let Some(done) = levels.pop() else { return Ok(()) };
    let (Some(above), Some(dir)) = (levels.last_mut(), done.dir) else { return Ok(()) };
    if above.dir.is_none() {
        let opened = rustix::fs::openat(&dir, "..", DIRECTORY, Mode::empty())?;
        if identity(&rustix::fs::fstat(&opened)?) != above.identity {
            return Err(moved());
        }
        above.dir = Some(opened);
    }
    Ok(())
}

fn moved() -> io::Error {
    io::Error::other("a directory was moved meanwhile")
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn status(dir: impl AsFd, name: &CStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        stat => Ok(Some(stat?)),
    }
}

/// How much the files below `path` hold, in bytes, each once.
///
/// # Errors
/// Whatever the file system says.
pub fn usage(path: &Path) -> io::Result<u64> {
    let top = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
    let (mut bytes, mut seen) = (0u64, HashSet::new());
    walk::<io::Error>(top, &mut |entry| {
        let once = entry.stat.st_nlink < 2 || seen.insert(identity(&entry.stat));
        if entry.kind() == FileType::RegularFile && once {
            bytes = bytes.saturating_add(entry.stat.st_size.unsigned_abs());
        }
        Ok(true)
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_trees_are_gone_through_in_order() {
        let top = tempfile::tempdir().unwrap();
        std::fs::write(top.path().join("a"), "abc").unwrap();
        std::fs::hard_link(top.path().join("a"), top.path().join("z")).unwrap();
        std::os::unix::fs::symlink("/etc", top.path().join("link")).unwrap();
        let mut dir = rustix::fs::open(top.path(), DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
            dir = rustix::fs::openat(&dir, "d", DIRECTORY, Mode::empty()).unwrap();
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&dir, "f", flags, Mode::RUSR).unwrap();
            rustix::io::write(&file, b"x").unwrap();
        }
        assert_eq!(usage(top.path()).unwrap(), 3003);
        let mut paths = Vec::new();
        let opened = rustix::fs::open(top.path(), DIRECTORY, Mode::empty()).unwrap();
        walk::<io::Error>(opened, &mut |entry| {
            paths.push(String::from_utf8(entry.path.to_vec()).unwrap());
            Ok(entry.path != b"d/d")
        })
        .unwrap();
        assert_eq!(paths, ["a", "d", "d/d", "d/f", "link", "z"]);
        crate::disk::remove_tree(&top.path().join("d")).unwrap();
    }
}
