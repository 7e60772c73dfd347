//! Volumes that begin with what the image has in their place, as Podman's do: a copy of it.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// The path of what is open.
pub(crate) fn path_of(opened: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", opened.as_raw_fd()).into()
}

/// Copies a directory's content and, where the `options` of the file system do not say otherwise,
/// its owner and mode.
pub(crate) fn fill(image: &Path, at: &Path, options: &[String]) -> io::Result<()> {
    let says = |names: &[&str]| {
        options.iter().any(|option| names.iter().any(|name| option.starts_with(name)))
    };
    copy_content(image, at)?;
    let directory = fs::metadata(image)?;
    if !says(&["uid=", "gid="]) {
        chown(at, Some(directory.uid()), Some(directory.gid()))?;
    }
    if !says(&["mode="]) {
        fs::set_permissions(at, directory.permissions())?;
    }
    Ok(())
}

/// No link is followed: what the image has below `from` is copied, as it is. Nobody else writes
/// there: the container has not started.
fn copy_content(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&from)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            fs::create_dir(&to)?;
            copy_content(&from, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_fifo() {
            rustix::fs::mknodat(CWD, &to, FileType::Fifo, Mode::RUSR, 0)?;
        } else {
            // A device could not be opened there, a socket has no listener.
            continue;
        }
        copy_attributes(&from, &to, &metadata)?;
    }
    Ok(())
}

/// In this order: a new owner clears bits of the mode and file capabilities, and all but the last
/// change a time.
fn copy_attributes(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    if !metadata.is_symlink() {
        fs::set_permissions(to, metadata.permissions())?;
    }
    copy_extended(from, to)?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Those that the other file system does not take are left out, as by `cp --archive`.
fn copy_extended(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0u8; 64 * 1024];
    let length = rustix::fs::llistxattr(from, &mut names[..])?;
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 64 * 1024];
        let length = rustix::fs::lgetxattr(from, name, &mut value[..])?;
        match rustix::fs::lsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_copy_is_like_the_image() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir(from.path().join("deep")).unwrap();
        fs::write(from.path().join("deep/file"), "text").unwrap();
        mode(&from.path().join("deep/file"), 0o4751);
        mode(&from.path().join("deep"), 0o700);
        symlink("/etc/passwd", from.path().join("link")).unwrap();
        rustix::fs::mknodat(CWD, from.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::File::options()
            .write(true)
            .open(from.path().join("deep/file"))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        mode(from.path(), 0o1770);
        fill(from.path(), to.path(), &[]).unwrap();
        let look = |name: &str| fs::symlink_metadata(to.path().join(name)).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("deep/file")).unwrap(), "text");
        assert_eq!(look("deep/file").mode() & 0o7777, 0o4751);
        assert_eq!(look("deep/file").mtime(), 0);
        assert_eq!(look("deep").mode() & 0o7777, 0o700);
        assert_eq!(fs::read_link(to.path().join("link")).unwrap(), Path::new("/etc/passwd"));
        assert!(look("fifo").file_type().is_fifo());
        assert_eq!(fs::metadata(to.path()).unwrap().mode() & 0o7777, 0o1770);
    }
}
