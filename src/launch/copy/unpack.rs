//! A tar stream into a directory beneath a root. It is read as layers are, with bounded memory, and
//! leaves as much of the disk free as they do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use tar::EntryType;

use super::{Fault, resolve};
use crate::launch::userns::own::Own;
use crate::model::failure::excerpt;
use crate::store::unpack::{Account, Archive, Entry, Limits};

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
    ///
    /// # Errors
    /// Also where the disk would be left with less than the reserve of `limits`, and where there are
    /// more files than they allow, directories that no entry names among them.
    pub(crate) fn unpack(&self, from: impl BufRead, limits: &Limits) -> Result<(), Fault> {
        let failed = |error: Errno| Fault::Write {
            path: self.directory.display().to_string(),
            source: error.into(),
        };
        // fstatvfs(2) takes what was opened to be a path only, too.
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let disk = resolve(self.root, &self.directory, flags).map_err(failed)?;
        let account = Account::open(Rc::new(disk), *limits)?;
        let mut unpacking = Unpacking { target: self, account, directories: Vec::new() };
        let mut archive = Archive::new(from);
        while let Some(entry) = archive.next()? {
            unpacking.account.files(1)?;
            unpacking.add(&entry, &mut archive)?;
        }
        unpacking.finish();
        Ok(())
    }

    /// A directory that the archive has no entry for. What is there already is a link to nothing, which is
    /// not made to lead somewhere.
    fn make(&self, dir: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?;
        self.own(dir, name)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
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
    fn dress(&self, made: &OwnedFd, entry: &Entry) -> io::Result<()> {
        let mut mode = entry.mode;
        let ids = match self.owner {
            Owner::Kept => Some((entry.uid, entry.gid)),
            Owner::Are(uid, gid) => Some((uid, gid)),
            Owner::Ours => {
                mode &= !0o6000;
                None
            }
        };
        if let Some((uid, gid)) = ids {
            let (uid, gid) = self.outside(uid, gid)?;
            rustix::fs::fchown(made, Some(uid), Some(gid))?;
        }
        rustix::fs::fchmod(made, Mode::from_raw_mode(mode))?;
        rustix::fs::futimens(made, &times(entry))?;
        Ok(())
    }
}

/// An archive on its way into a target.
struct Unpacking<'a> {
    target: &'a Target<'a>,
    account: Account,
    /// Their times are set last: what is made in a directory changes them.
    directories: Vec<(PathBuf, Timestamps)>,
}

impl Unpacking<'_> {
    fn add(&mut self, entry: &Entry, archive: &mut Archive<impl BufRead>) -> Result<(), Fault> {
        let path = clean(&entry.path)?;
        let Some(name) = path.file_name() else { return Ok(()) };
        let shown = self.target.directory.join(entry.shown()).display().to_string();
        let failed = |source: io::Error| Fault::Write { path: shown.clone(), source };
        let parent = self.parent(&path, &shown)?;
        let target = self.target;
        let made = match entry.kind {
            EntryType::Directory => {
                let made = directory(&parent, name).map_err(failed)?;
                self.directories.push((path.clone(), times(entry)));
                made
            }
            EntryType::Regular | EntryType::Continuous => {
                let mut file = File::from(new_file(&parent, name).map_err(failed)?);
                while archive.left() > 0 {
                    let piece = archive.data()?;
                    file.write_all(piece).map_err(failed)?;
                    let count = piece.len();
                    archive.consume(count);
                    self.account.bytes(count as u64)?;
                }
                file.into()
            }
            EntryType::GNUSparse => return Err(Fault::Sparse(shown)),
            EntryType::Symlink => {
                let made = clear(&parent, name).and_then(|()| {
                    rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), &parent, name)?;
                    target.own(&parent, name)
                });
                return made.map_err(failed);
            }
            EntryType::Link => {
                let from = clean(&entry.link)?;
                let dir = self.parent(&from, &shown)?;
                return link((&dir, from.file_name()), (&parent, name)).map_err(failed);
            }
            EntryType::Fifo => {
                let mode = Mode::from_raw_mode(0o600);
                let made = clear(&parent, name).and_then(|()| {
                    rustix::fs::mknodat(&parent, name, FileType::Fifo, mode, 0)?;
                    target.own(&parent, name)
                });
                return made.map_err(failed);
            }
            // Devices are the host's to give.
            _ => return Ok(()),
        };
        target.dress(&made, entry).map_err(failed)
    }

    /// The directory that an entry, `shown`, is in; made, where the archive has no entry for it, and
    /// counted as if it had one. From below, so that none is opened again and again for one long path.
    fn parent(&mut self, path: &Path, shown: &str) -> Result<OwnedFd, Fault> {
        let failed = |source| Fault::Write { path: shown.to_owned(), source };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let target = self.target;
        let mut missing = Vec::new();
        let mut above = path.parent().unwrap_or(Path::new(""));
        let mut dir = loop {
            match (resolve(target.root, &target.directory.join(above), flags), above.file_name()) {
                (Err(Errno::NOENT), Some(name)) => missing.push(name),
                (opened, _) => break opened.map_err(|error| failed(error.into()))?,
            }
            above = above.parent().unwrap_or(Path::new(""));
        };
        for name in missing.into_iter().rev() {
            self.account.files(1)?;
            dir = target.make(&dir, name).map_err(failed)?;
        }
        Ok(dir)
    }

    fn finish(self) {
        let target = self.target;
        for (path, times) in self.directories.iter().rev() {
            // What was made in it has changed its time. Who moved it meanwhile wants another.
            if let Ok(made) = resolve(target.root, &target.directory.join(path), OFlags::RDONLY) {
                let _ = rustix::fs::futimens(&made, times);
            }
        }
    }
}

/// A second name for what another entry has made.
fn link(from: (&OwnedFd, Option<&OsStr>), to: (&OwnedFd, &OsStr)) -> io::Result<()> {
    let name = from.1.ok_or(io::ErrorKind::InvalidData)?;
    clear(to.0, to.1)?;
    Ok(rustix::fs::linkat(from.0, name, to.0, to.1, AtFlags::empty())?)
}

/// The components of an entry's path, none of which leads up.
fn clean(path: &[u8]) -> Result<PathBuf, Fault> {
    let path = Path::new(OsStr::from_bytes(path));
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Fault::Outside(excerpt(&path.to_string_lossy())));
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

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1 };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::launch::copy::pack::Source;
    use crate::model::MinFree;
    use crate::store::unpack::Fault as Layer;

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
        target.unpack(&*archive, &Limits::default()).unwrap();
        target.unpack(&*archive, &Limits::default()).unwrap();
        assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
        let inside = root.path().join(outside.path().strip_prefix("/").unwrap()).join("new");
        assert_eq!(std::fs::read_to_string(inside.join("e/f")).unwrap(), "text");
        assert_eq!(std::fs::read_to_string(inside.join("g")).unwrap(), "text");
        assert_eq!(std::fs::read_link(inside.join("l")).unwrap(), Path::new("nowhere"));
    }

    /// A header, and what follows it.
    fn entry(kind: EntryType, name: &str, data: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        let mut entry = [header.as_bytes(), data].concat();
        entry.resize(entry.len().next_multiple_of(512), 0);
        entry
    }

    fn unpacked(archive: &[u8], limits: &Limits) -> (tempfile::TempDir, Result<(), Fault>) {
        let root = tempfile::tempdir().unwrap();
        let opened = open(root.path());
        let directory = PathBuf::new();
        let target = Target { root: opened.as_fd(), directory, owner: Owner::Ours, users: None };
        let result = target.unpack(archive, limits);
        (root, result)
    }

    #[test]
    fn an_archive_takes_no_more_than_it_may() {
        let limits = Limits { entries: 10, ..Limits::DEFAULT };
        let deep = format!("{}f", "d/".repeat(9));
        let (root, result) = unpacked(&entry(EntryType::Regular, &deep, b"text"), &limits);
        result.unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join(deep)).unwrap(), "text");
        let deeper = format!("{}f", "d/".repeat(10));
        let (_root, result) = unpacked(&entry(EntryType::Regular, &deeper, b""), &limits);
        assert!(matches!(result, Err(Fault::Archive(Layer::TooMany(10)))), "{result:?}");
        // A name of 600 MiB is neither read nor said again.
        let mut long = entry(EntryType::GNULongName, "@", b"");
        long[124..136].copy_from_slice(b"04540000000\0");
        let sum = |block: &[u8]| block.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let checksum = sum(&long[..148]) + 8 * 32 + sum(&long[156..512]);
        long[148..156].copy_from_slice(format!("{checksum:06o}\0 ").as_bytes());
        let (_root, result) = unpacked(&long, &limits);
        assert!(matches!(result, Err(Fault::Archive(Layer::Malformed(_)))), "{result:?}");
        let (_root, result) = unpacked(&entry(EntryType::GNUSparse, "hole", b""), &limits);
        assert!(matches!(result, Err(Fault::Sparse(_))), "{result:?}");
        let no_room =
            Limits { min_free: MinFree { bytes: u64::MAX, percent: 100 }, ..Limits::DEFAULT };
        let (root, result) = unpacked(&entry(EntryType::Regular, "f", b""), &no_room);
        assert!(matches!(result, Err(Fault::Archive(Layer::NoSpace { .. }))), "{result:?}");
        assert!(!root.path().join("f").exists());
    }

    #[test]
    fn nothing_leads_up() {
        for path in ["../x", "a/../../x", ".."] {
            assert!(clean(path.as_bytes()).is_err(), "{path}");
        }
        assert_eq!(clean(b"/./a//b").unwrap(), Path::new("a/b"));
    }
}
