//! A layer once more, its files under other owners: for user namespaces by whose map the kernel
//! shows no mount. Overlayfs takes no map itself, and who is root of a user namespace only may give
//! none to the file systems below it.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::account::Account;
use super::confined::Confined;
use super::{Fault, Limits, Privilege};
use crate::disk;

/// The largest attribute, and the longest list of their names, in bytes (xattr(7)).
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// Who a file's user and group are in the copy.
pub(in crate::store) type Owners<'a> = &'a dyn Fn(u32, u32) -> (u32, u32);

/// Copies the directory `from`, with all that is in it, to the empty directory `to`. Where the file
/// system can, both share the files' blocks.
pub(in crate::store) fn copy(
    from: OwnedFd,
    to: OwnedFd,
    owners: Owners<'_>,
    limits: &Limits,
) -> Result<(), Fault> {
    let confined = Confined::new(to, Privilege::current());
    let account = Account::open(confined.root(), *limits)?;
    let failed = |cause: Errno| fault(b"/")(cause.into());
    let top = rustix::fs::fstat(&from).map_err(failed)?;
    let own = rustix::io::fcntl_dupfd_cloexec(&from, 0).map_err(failed)?;
    let directories = vec![(PathBuf::new(), times(&top))];
    let mut copy = Copy { confined, owners, account, linked: HashMap::new(), directories };
    copy.dress(&own, &*copy.confined.root(), &top).map_err(fault(b"/"))?;
    disk::walk::<Walk>(from, &mut |entry| copy.add(entry).map(|()| true).map_err(Walk::Fault))
        .map_err(Fault::from)?;
    copy.finish()
}

/// What goes wrong on the way.
enum Walk {
    Fault(Fault),
    Io(io::Error),
}

impl From<io::Error> for Walk {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

impl From<Walk> for Fault {
    fn from(walk: Walk) -> Self {
        match walk {
            Walk::Fault(fault) => fault,
            Walk::Io(cause) => fault(b"/")(cause),
        }
    }
}

struct Copy<'a> {
    confined: Confined,
    owners: Owners<'a>,
    account: Account,
    /// The first name in the copy of files that have several, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
    /// Times are set last: what is made in a directory changes them.
    directories: Vec<(PathBuf, Timestamps)>,
}

impl Copy<'_> {
    fn add(&mut self, entry: &disk::Entry<'_>) -> Result<(), Fault> {
        let path = Path::new(OsStr::from_bytes(entry.path));
        let size = match entry.kind() {
            FileType::RegularFile => entry.stat.st_size.unsigned_abs(),
            _ => 0,
        };
        self.add_one(entry, path).map_err(fault(entry.path))?;
        self.account.files(1)?;
        self.account.bytes(size)
    }

    fn add_one(&mut self, entry: &disk::Entry<'_>, path: &Path) -> io::Result<()> {
        let dir = self.confined.directory(path.parent().unwrap_or(Path::new("")))?;
        match entry.kind() {
            FileType::Directory => {
                rustix::fs::mkdirat(&*dir, entry.name, Mode::RWXU)?;
                let made = open_at(&*dir, entry.name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                let from = open_at(entry.dir, entry.name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                self.dress(from, &made, &entry.stat)?;
                self.directories.push((path.to_owned(), times(&entry.stat)));
                self.confined.remember(path, made);
                Ok(())
            }
            FileType::RegularFile => self.file(entry, path, &dir),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(entry.dir, entry.name, Vec::new())?;
                rustix::fs::symlinkat(target, &*dir, entry.name)?;
                self.dress_name(&dir, entry)
            }
            // Overlayfs's mark of what is gone, or a FIFO: a layer has no other nodes.
            kind => {
                let mode = Mode::from_raw_mode(entry.stat.st_mode & 0o7777);
                rustix::fs::mknodat(&*dir, entry.name, kind, mode, entry.stat.st_rdev)?;
                // Just made, and no link. Whatever the umask made of it.
                rustix::fs::chmodat(&*dir, entry.name, mode, AtFlags::empty())?;
                self.dress_name(&dir, entry)
            }
        }
    }

    fn file(&mut self, entry: &disk::Entry<'_>, path: &Path, dir: &OwnedFd) -> io::Result<()> {
        let identity = (entry.stat.st_dev, entry.stat.st_ino);
        if let Some(first) = self.linked.get(&identity) {
            let first_dir = self.confined.directory(first.parent().unwrap_or(Path::new("")))?;
            let name = first.file_name().unwrap_or_default();
            let linked = rustix::fs::linkat(&*first_dir, name, dir, entry.name, AtFlags::empty());
            return Ok(linked?);
        }
        let mut from: File = open_at(entry.dir, entry.name, OFlags::RDONLY)?.into();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut to: File = open_at(dir, entry.name, flags)?.into();
        io::copy(&mut from, &mut to)?;
        self.dress(&from, &to, &entry.stat)?;
        rustix::fs::futimens(&to, &times(&entry.stat))?;
        if entry.stat.st_nlink > 1 {
            self.linked.insert(identity, path.to_owned());
        }
        Ok(())
    }

    /// Owner, mode and attributes, in this order: a new owner takes set-user-ID bits and
    /// capabilities away.
    fn dress(&self, from: impl AsFd, to: impl AsFd, stat: &Stat) -> io::Result<()> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::fchown(&to, Some(uid), Some(gid))?;
        rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        let mut names = vec![0u8; MAX_ATTRIBUTE];
        let length = rustix::fs::flistxattr(&from, &mut names[..])?;
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let name = OsStr::from_bytes(name);
            let mut value = vec![0u8; MAX_ATTRIBUTE];
            let length = rustix::fs::fgetxattr(&from, name, &mut value[..])?;
            match rustix::fs::fsetxattr(&to, name, &value[..length], XattrFlags::empty()) {
                // What the file system gives to each file by itself.
                Err(Errno::NOTSUP | Errno::PERM) => {}
                set => set?,
            }
        }
        Ok(())
    }

    /// Owner and times of what is not opened.
    fn dress_name(&self, dir: &OwnedFd, entry: &disk::Entry<'_>) -> io::Result<()> {
        let (uid, gid) = self.owner(&entry.stat);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(dir, entry.name, Some(uid), Some(gid), flags)?;
        Ok(rustix::fs::utimensat(dir, entry.name, &times(&entry.stat), flags)?)
    }

    fn owner(&self, stat: &Stat) -> (Uid, Gid) {
        let (uid, gid) = (self.owners)(stat.st_uid, stat.st_gid);
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }

    fn finish(self) -> Result<(), Fault> {
        for (path, times) in self.directories.iter().rev() {
            let set = || -> io::Result<()> {
                let Some(dir) = self.confined.existing(path)? else { return Ok(()) };
                Ok(rustix::fs::futimens(&dir, times)?)
            };
            set().map_err(fault(path.as_os_str().as_bytes()))?;
        }
        Ok(())
    }
}

fn open_at(dir: impl AsFd, name: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::RUSR)?)
}

fn fault(path: &[u8]) -> impl Fn(io::Error) -> Fault + use<> {
    let path: String = String::from_utf8_lossy(path).chars().take(300).collect();
    move |source| Fault::Io { path: path.clone(), source }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::super::open_root;
    use super::*;

    fn copied(from: &Path, owners: Owners<'_>) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        let (source, target) = (open_root(from).unwrap(), open_root(to.path()).unwrap());
        copy(source, target, owners, &Limits::default()).unwrap();
        to
    }

    #[test]
    fn all_of_a_layer_is_in_its_copy() {
        let from = tempfile::tempdir().unwrap();
        let at = |name: &str| from.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/b/file"), "text").unwrap();
        std::fs::hard_link(at("a/b/file"), at("again")).unwrap();
        std::os::unix::fs::symlink("/etc", at("a/link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let mode = |name: &str, mode| {
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("a/b/file", 0o4711);
        mode("a/b", 0o1555);
        mode("", 0o750);
        let set = XattrFlags::empty();
        let has_attributes =
            rustix::fs::setxattr(at("a"), "user.overlay.opaque", b"y", set).is_ok();
        let old = Timespec { tv_sec: 7, tv_nsec: 9 };
        let old = Timestamps { last_access: old, last_modification: old };
        for name in ["a/b/file", "a/link", "a/b", "a", ""] {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, at(name), &old, flags).unwrap();
        }
        let to = copied(from.path(), &|uid, gid| (uid, gid));
        let look = |name: &str| std::fs::symlink_metadata(to.path().join(name)).unwrap();
        assert_eq!(std::fs::read_to_string(to.path().join("a/b/file")).unwrap(), "text");
        assert_eq!(look("a/b/file").mode() & 0o7777, 0o4711);
        assert_eq!((look("a/b").mode() & 0o7777, look("").mode() & 0o7777), (0o1555, 0o750));
        assert_eq!((look("again").ino(), look("again").nlink()), (look("a/b/file").ino(), 2));
        assert_eq!(std::fs::read_link(to.path().join("a/link")).unwrap(), Path::new("/etc"));
        assert_eq!(look("fifo").mode() & 0o777, 0o400);
        for name in ["a/b/file", "a/link", "a/b", "a", ""] {
            assert_eq!((look(name).mtime(), look(name).mtime_nsec()), (7, 9), "{name}");
        }
        if has_attributes {
            let mut value = [0u8; 8];
            let length =
                rustix::fs::getxattr(to.path().join("a"), "user.overlay.opaque", &mut value[..]);
            assert_eq!(&value[..length.unwrap()], b"y");
        }
    }

    #[test]
    fn owners_are_others() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("owners_are_others: skipped, not root");
            return;
        }
        let from = tempfile::tempdir().unwrap();
        let at = |name: &str| from.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::lchown(at("link"), Some(5), Some(6)).unwrap();
        let to = copied(from.path(), &|uid, gid| (uid + 100, gid + 200));
        let owner = |name: &str| {
            let found = std::fs::symlink_metadata(to.path().join(name)).unwrap();
            (found.uid(), found.gid())
        };
        assert_eq!([owner(""), owner("file"), owner("link")], [(100, 200), (100, 200), (105, 206)]);
    }
}
