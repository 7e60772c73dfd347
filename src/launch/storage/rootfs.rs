//! The container's root file system: an overlay in a mount namespace of our own, so that it is gone
//! with us, however we end. And reading files in it, never out of it.

use std::cell::Cell;
use std::fs::DirBuilder;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::thread::UnshareFlags;

use crate::launch::Error;
use crate::launch::storage::overlay::Overlay;
use crate::launch::userns::own::Own;
use crate::launch::userns::shift;
use crate::store::{Image, unpack};

/// The largest file read from an image, in bytes (passwd(5), group(5)).
const MAX_FILE: u64 = 1 << 20;

/// A mounted root file system; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Rootfs {
    path: PathBuf,
    /// Bottom first; at least one.
    layers: Vec<PathBuf>,
    /// Of what the container writes, with `upper` and `work` in it.
    writable: PathBuf,
    is_mounted: Cell<bool>,
}

impl Rootfs {
    /// Leaves the host's mount namespace and mounts `image` at `path`; changes go below `writable`.
    pub(crate) fn mount(image: &Image, writable: &Path, path: PathBuf) -> Result<Self, Error> {
        let (upper, work, empty) =
            (writable.join("upper"), writable.join("work"), writable.join("empty"));
        for directory in [&upper, &work, &empty, &path] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory)
                .map_err(|source| Error::file("make", directory, source))?;
        }
        leave_mount_namespace()
            .map_err(|error| Error::system("leave the mount namespace", error))?;
        // An image without layers still needs one to lie below.
        let layers = if image.layers.is_empty() { vec![empty] } else { image.layers.clone() };
        let writable = writable.to_owned();
        let rootfs = Self { path, layers, writable, is_mounted: Cell::new(false) };
        rootfs.begin()?;
        Ok(rootfs)
    }

    /// Mounts it of these layers instead.
    pub(crate) fn change(&mut self, layers: Vec<PathBuf>) -> Result<(), Error> {
        self.unmount();
        self.layers = layers;
        self.begin()
    }

    fn begin(&self) -> Result<(), Error> {
        // An image without layers has the container's own directory.
        if let Some(top) = self.layers.last().filter(|top| !top.starts_with(&self.writable)) {
            like(top, &self.writable.join("upper"))
                .map_err(|source| Error::file("use the layer", top, source))?;
        }
        self.mount_again()
    }

    /// Mounts it where it is to be, unless it is there.
    pub(crate) fn mount_again(&self) -> Result<(), Error> {
        if !self.is_mounted.get() {
            overlay(&self.layers, &self.writable, &self.path)?;
            self.is_mounted.set(true);
        }
        Ok(())
    }

    /// Makes way for another mount of it.
    pub(crate) fn unmount(&self) {
        if self.is_mounted.replace(false) {
            let _ = unmount(&self.path, UnmountFlags::DETACH);
        }
    }

    /// Mounts it at `at`, with the owners of files as `own` maps them; what that takes is mounted
    /// below `stage`.
    pub(crate) fn mount_mapped(&self, stage: &Path, at: &Path, own: &Own) -> Result<(), Error> {
        let by = own.descriptor();
        let writable = shift::show(&self.writable, stage.join("writable"), by)?;
        let mut layers = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            // Of an image without layers, it is among what the container writes.
            layers.push(match layer.strip_prefix(&self.writable) {
                Ok(below) => writable.join(below),
                Err(_) => shift::show(layer, stage.join(format!("layer-{index}")), by)?,
            });
        }
        // The overlay makes directories of its own, as whoever mounts it.
        own.as_root(|| overlay(&layers, &writable, at))?
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory and those above it, as the container would find them, for this user and
    /// group; those that are there stay as they are.
    pub(crate) fn make_directory(&self, directory: &str, owner: (u32, u32)) -> Result<(), Error> {
        make_in(&self.path, Path::new(directory), owner).map_err(|error| match error {
            Errno::NOTDIR => {
                let (directory, why) = (directory.to_owned(), "is not a directory");
                Error::NoDirectory { directory, why }
            }
            error => Error::file("make the working directory", directory, error.into()),
        })
    }

    /// A directory, as the container would find it; `None` where there is none.
    pub(crate) fn open_directory(&self, directory: &Path) -> Option<OwnedFd> {
        open_in(&self.path, directory).ok()
    }

    /// A file of the container, as the container would find it; empty where there is none.
    pub(crate) fn read(&self, file: &str) -> String {
        read_in(&self.path, file).unwrap_or_default()
    }
}

impl Drop for Rootfs {
    fn drop(&mut self) {
        self.unmount();
    }
}

fn overlay(layers: &[PathBuf], writable: &Path, at: &Path) -> Result<(), Error> {
    let (upper, work) = (writable.join("upper"), writable.join("work"));
    Overlay { layers, upper: &upper, work: &work, userxattr: unpack::for_userxattr() }
        .mount(at)
        .map_err(|error| Error::file("mount the overlay at", at, error.into()))
}

/// An overlay's upper directory is its root: it has owner and mode of the layer's.
pub(crate) fn like(top: &Path, upper: &Path) -> std::io::Result<()> {
    let image = std::fs::metadata(top)?;
    std::os::unix::fs::chown(upper, Some(image.uid()), Some(image.gid()))?;
    std::fs::set_permissions(upper, image.permissions())
}

/// A directory below `root`, whatever links lead to it.
fn open_in(root: &Path, directory: &Path) -> rustix::io::Result<OwnedFd> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    resolve(&root, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
}

/// Opens what the container would find at `path`.
pub(crate) fn resolve(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(&root, path.as_ref(), flags, Mode::empty(), confined) {
            // A rename or a mount somewhere on the host raced with a `..`: openat2(2).
            Err(Errno::AGAIN) => {}
            opened => return opened,
        }
    }
}

/// One component after the other: each is found below `root`, whatever links lead to it, or made.
fn make_in(root: &Path, directory: &Path, owner: (u32, u32)) -> rustix::io::Result<()> {
    let open = |path: &Path| open_in(root, path);
    let mut reached = PathBuf::from(".");
    let mut parent = open(&reached)?;
    for component in directory.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => "..".as_ref(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        reached.push(name);
        parent = match open(&reached) {
            Err(Errno::NOENT) => {
                mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
                chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                open(&reached)?
            }
            found => found?,
        };
    }
    Ok(())
}

/// Reads a text file below `root`, whatever links lie on the way to it.
pub(crate) fn read_in(root: &Path, file: &str) -> std::io::Result<String> {
    let directory = std::fs::File::open(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = std::fs::File::from(resolve(&directory, file, flags)?);
    if !opened.metadata()?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut text = Vec::new();
    opened.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// From here on, what we mount is seen by nobody else; what the host mounts is still seen by us.
pub(super) fn leave_mount_namespace() -> rustix::io::Result<()> {
    // SAFETY: only the mount namespace is left; no descriptor and no memory is shared or unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_of_an_image_do_not_lead_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "secret").unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        symlink(outside.path(), root.path().join("etc/passwd")).unwrap();
        symlink("../../../../real", root.path().join("etc/group")).unwrap();
        std::fs::write(root.path().join("real"), "inside").unwrap();
        assert!(read_in(root.path(), "/etc/passwd").is_err());
        assert_eq!(read_in(root.path(), "/etc/group").unwrap(), "inside");
    }

    #[test]
    fn directories_are_made_inside() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), root.path().join("out")).unwrap();
        symlink("/real", root.path().join("link")).unwrap();
        std::fs::create_dir(root.path().join("real")).unwrap();
        let own = std::fs::metadata(root.path()).unwrap();
        let make = |path: &str| make_in(root.path(), Path::new(path), (own.uid(), own.gid()));
        make("/a/./b").unwrap();
        make("/a/b").unwrap();
        make("/link/below").unwrap();
        make("/../../up").unwrap();
        for made in ["a/b", "real/below", "up"] {
            assert!(root.path().join(made).is_dir(), "{made}");
        }
        assert!(make("/out/x").is_err());
        assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
    }

    #[test]
    fn the_root_is_like_the_images() {
        let (top, upper) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::set_permissions(top.path(), std::fs::Permissions::from_mode(0o1751)).unwrap();
        like(top.path(), upper.path()).unwrap();
        assert_eq!(std::fs::metadata(upper.path()).unwrap().mode() & 0o7777, 0o1751);
    }

    #[test]
    fn a_fifo_does_not_block() {
        let root = tempfile::tempdir().unwrap();
        let path = std::ffi::CString::new(format!("{}/passwd", root.path().display())).unwrap();
        // SAFETY: `path` is a valid string that lives through the call.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        assert!(read_in(root.path(), "passwd").is_err());
    }
}
