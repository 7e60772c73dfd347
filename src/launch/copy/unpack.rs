//! A tar stream into a directory beneath a root.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use tar::{Archive, EntryType};

use super::{Fault, resolve};
use crate::launch::userns::own::Own;

/// Whose the files are then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Those that the archive says.
    Kept,
    /// These, of the container.
    Are(u32, u32),
    /// Ours, as what we make is. What would run with its owner's rights no longer does: it had
    /// another.
    Ours,
}

/// Where an archive goes.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) root: BorrowedFd<'a>,
    /// A directory, beneath the root.
    pub(crate) directory: PathBuf,
    pub(crate) owner: Owner,
    /// Whose numbers those of owners are, where they are others outside.
    pub(crate) users: Option<&'a Own>,
}

impl Target<'_> {
    /// Makes what the archive holds. What is there is replaced, but no directory by what is none.
    pub(crate) fn unpack(&self, from: impl Read) -> Result<(), Fault> {
        let mut archive = Archive::new(from);
        let mut directories = Vec::new();
        for entry in archive.entries().map_err(Fault::Archive)? {
            let mut entry = entry.map_err(Fault::Archive)?;
            let path = clean(&entry.path().map_err(Fault::Archive)?)?;
            let Some(name) = path.file_name() else { continue };
            let shown = self.directory.join(&path).display().to_string();
            let failed = |source: io::Error| Fault::Write { path: shown.clone(), source };
            let parent = self.parent(&path).map_err(failed)?;
            let made = match entry.header().entry_type() {
                EntryType::Directory => {
                    let made = directory(&parent, name).map_err(failed)?;
                    directories.push((path.clone(), mtime(entry.header())));
                    Some(made)
                }
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    let mut file = File::from(new_file(&parent, name).map_err(failed)?);
                    io::copy(&mut entry, &mut file).map_err(failed)?;
                    Some(file.into())
                }
                EntryType::Symlink => {
                    let target = entry.link_name().map_err(Fault::Archive)?.unwrap_or_default();
                    clear(&parent, name).map_err(failed)?;
                    let made = rustix::fs::symlinkat(&*target, &parent, name);
                    made.map_err(|error| failed(error.into()))?;
                    self.own(&parent, name).map_err(failed)?;
                    None
                }
                EntryType::Link => {
                    let target = entry.link_name().map_err(Fault::Archive)?.unwrap_or_default();
                    self.link(&clean(&target)?, &parent, name).map_err(failed)?;
                    None
                }
                EntryType::Fifo => {
                    clear(&parent, name).map_err(failed)?;
                    let mode = Mode::from_raw_mode(0o600);
                    let made = rustix::fs::mknodat(&parent, name, FileType::Fifo, mode, 0);
                    made.map_err(|error| failed(error.into()))?;
                    self.own(&parent, name).map_err(failed)?;
                    None
                }
                // Devices are the host's to give.
                _ => None,
            };
            if let Some(made) = made {
                self.dress(&made, entry.header()).map_err(failed)?;
            }
        }
        for (path, time) in directories.iter().rev() {
            // What was made in it has changed its time. Who moved it meanwhile wants another.
            if let Ok(made) = resolve(self.root, &self.directory.join(path), OFlags::RDONLY) {
                let _ = rustix::fs::futimens(&made, time);
            }
        }
        Ok(())
    }

    /// The directory that an entry is in; made, where the archive has no entry for it.
    fn parent(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = path.parent().unwrap_or(Path::new(""));
        match resolve(self.root, &self.directory.join(parent), flags) {
            Err(Errno::NOENT) => {}
            found => return Ok(found?),
        }
        let mut reached = self.directory.clone();
        let mut opened = resolve(self.root, &reached, flags)?;
        for name in parent.components() {
            reached.push(name);
            opened = match resolve(self.root, &reached, flags) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&opened, name.as_os_str(), Mode::from_raw_mode(0o755))?;
                    self.own(&opened, name.as_os_str())?;
                    resolve(self.root, &reached, flags)?
                }
                found => found?,
            };
        }
        Ok(opened)
    }

    fn own(&self, dir: impl AsFd, name: &OsStr) -> io::Result<()> {
        if let Owner::Are(uid, gid) = self.owner {
            let (uid, gid) = self.outside(uid, gid)?;
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    fn outside(&self, uid: u32, gid: u32) -> io::Result<(Uid, Gid)> {
        let (uid, gid) = match self.users {
            None => (uid, gid),
            Some(users) => users.user(uid).zip(users.group(gid)).ok_or_else(|| {
                let text = format!("user {uid} and group {gid} are none of the container's");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?,
        };
        Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    /// Owner before mode: a change of owner takes rights away.
    fn dress(&self, made: &OwnedFd, header: &tar::Header) -> io::Result<()> {
        let mut mode = header.mode()? & 0o7777;
        let ids = match self.owner {
            Owner::Kept => Some((header.uid()?, header.gid()?)),
            Owner::Are(uid, gid) => Some((uid.into(), gid.into())),
            Owner::Ours => {
                mode &= !0o6000;
                None
            }
        };
        if let Some((uid, gid)) = ids {
            let id = |id: u64| u32::try_from(id).map_err(|_| io::ErrorKind::InvalidData);
            let (uid, gid) = self.outside(id(uid)?, id(gid)?)?;
            rustix::fs::fchown(made, Some(uid), Some(gid))?;
        }
        rustix::fs::fchmod(made, Mode::from_raw_mode(mode))?;
        rustix::fs::futimens(made, &mtime(header))?;
        Ok(())
    }

    fn link(&self, target: &Path, dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let parent = self.parent(target)?;
        let from = target.file_name().ok_or(io::ErrorKind::InvalidData)?;
        clear(dir, name)?;
        Ok(rustix::fs::linkat(&parent, from, dir, name, AtFlags::empty())?)
    }
}

/// The components of an entry's path, none of which leads up.
fn clean(path: &Path) -> Result<PathBuf, Fault> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Fault::Outside(path.display().to_string()));
            }
        }
    }
    Ok(clean)
}

fn directory(dir: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// A file that is there is written anew, since it may be somebody's mount; what else is there goes.
fn new_file(dir: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let private = Mode::from_raw_mode(0o600);
    let make = || rustix::fs::openat(dir, name, flags | OFlags::CREATE | OFlags::EXCL, private);
    match make() {
        Err(Errno::EXIST) => {}
        made => return Ok(made?),
    }
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        return Ok(rustix::fs::openat(dir, name, flags | OFlags::TRUNC, Mode::empty())?);
    }
    clear(dir, name)?;
    Ok(make()?)
}

/// Removes what is there; a directory is an error.
fn clear(dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn mtime(header: &tar::Header) -> Timestamps {
    let seconds = header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0);
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::launch::copy::pack::Source;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .unwrap()
    }

    #[test]
    fn links_lead_nowhere_but_into_the_root() {
        let (from, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(from.path().join("d/e")).unwrap();
        std::fs::write(from.path().join("d/e/f"), "text").unwrap();
        std::fs::hard_link(from.path().join("d/e/f"), from.path().join("d/g")).unwrap();
        symlink("nowhere", from.path().join("d/l")).unwrap();
        symlink(outside.path(), root.path().join("evil")).unwrap();
        std::fs::create_dir_all(root.path().join(outside.path().strip_prefix("/").unwrap()))
            .unwrap();
        let mut archive = Vec::new();
        let source = Source::open(open(from.path()), Path::new("d")).unwrap();
        source.pack(OsStr::new("new"), &mut archive, None).unwrap();
        let opened = open(root.path());
        let target = Target {
            root: opened.as_fd(),
            directory: "evil".into(),
            owner: Owner::Ours,
            users: None,
        };
        target.unpack(&*archive).unwrap();
        target.unpack(&*archive).unwrap();
        assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
        let inside = root.path().join(outside.path().strip_prefix("/").unwrap()).join("new");
        assert_eq!(std::fs::read_to_string(inside.join("e/f")).unwrap(), "text");
        assert_eq!(std::fs::read_to_string(inside.join("g")).unwrap(), "text");
        assert_eq!(std::fs::read_link(inside.join("l")).unwrap(), Path::new("nowhere"));
    }

    #[test]
    fn nothing_leads_up() {
        for path in ["../x", "a/../../x", ".."] {
            assert!(clean(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(clean(Path::new("/./a//b")).unwrap(), Path::new("a/b"));
    }
}
