//! Volumes that begin with what the image has in their place, as Podman's do: a tmpfs
//! (`tmpcopyup`), and the image's own volumes where the root file system is read-only. They are
//! made and filled here, and bound into the container.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::launch::Error;
use crate::launch::storage::rootfs::Rootfs;
use crate::launch::storage::volume::Volume;

/// The volumes of a container, filled. What was mounted for them is only there until this is
/// dropped; the container has its own mounts by then.
#[derive(Debug)]
pub(crate) struct Filled {
    volumes: Vec<Volume>,
    mounted: Vec<PathBuf>,
}

impl Filled {
    /// Fills `volumes`, and a directory each for the targets `own`, below `directory`.
    pub(crate) fn new(
        volumes: &[Volume],
        own: &[PathBuf],
        rootfs: &Rootfs,
        directory: &Path,
    ) -> Result<Self, Error> {
        let mut filled = Self { volumes: Vec::new(), mounted: Vec::new() };
        for (index, volume) in volumes.iter().enumerate() {
            // What lies below another volume is the image's only where that is filled, too.
            let is_image = volumes
                .iter()
                .filter(|other| volume.target.starts_with(&other.target))
                .all(|other| other.filled);
            let image = Some(volume).filter(|volume| volume.filled && is_image);
            match image.and_then(|volume| rootfs.open_directory(&volume.target)) {
                None => filled.volumes.push(volume.clone()),
                Some(image) => {
                    let at = directory.join(format!("tmpfs-{index}"));
                    filled.tmpfs(volume, &path_of(&image), at)?;
                }
            }
        }
        for (index, target) in own.iter().enumerate() {
            let at = directory.join(format!("own-{index}"));
            make(&at)?;
            if let Some(image) = rootfs.open_directory(target) {
                fill(&path_of(&image), &at, target, &[])?;
            }
            filled.volumes.push(Volume::bound(at, target.clone(), Vec::new()));
        }
        Ok(filled)
    }

    pub(crate) fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// Options with a value are the file system's, the others the mount's.
    fn tmpfs(&mut self, volume: &Volume, image: &Path, at: PathBuf) -> Result<(), Error> {
        let (data, options): (Vec<_>, Vec<_>) =
            volume.options.iter().cloned().partition(|option| option.contains('='));
        make(&at)?;
        let text = std::ffi::CString::new(data.join(",")).unwrap_or_default();
        // Without flags: a bound mount can only be given more of them.
        mount("tmpfs", &at, "tmpfs", MountFlags::empty(), &*text)
            .map_err(|error| Error::file("mount the tmpfs", &volume.target, error.into()))?;
        self.mounted.push(at.clone());
        fill(image, &at, &volume.target, &data)?;
        self.volumes.push(Volume::bound(at, volume.target.clone(), options));
        Ok(())
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        for path in &self.mounted {
            let _ = unmount(path, UnmountFlags::DETACH);
        }
    }
}

fn make(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(|source| Error::file("make", directory, source))
}

fn path_of(directory: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", directory.as_raw_fd()).into()
}

/// Copies a directory's content and, where the `options` of the file system do not say otherwise,
/// its owner and mode.
fn fill(image: &Path, at: &Path, target: &Path, options: &[String]) -> Result<(), Error> {
    let says = |names: &[&str]| {
        options.iter().any(|option| names.iter().any(|name| option.starts_with(name)))
    };
    let like = || -> io::Result<()> {
        copy_content(image, at)?;
        let directory = fs::metadata(image)?;
        if !says(&["uid=", "gid="]) {
            chown(at, Some(directory.uid()), Some(directory.gid()))?;
        }
        if !says(&["mode="]) {
            fs::set_permissions(at, directory.permissions())?;
        }
        Ok(())
    };
    like().map_err(|source| Error::file("fill the volume", target, source))
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
        fill(from.path(), to.path(), Path::new("/t"), &[]).unwrap();
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
