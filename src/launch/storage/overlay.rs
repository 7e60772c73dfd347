//! The overlay of an image's layers: how it is mounted by newer and by older kernels.

use std::ffi::CString;
use std::fmt::Write as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

/// What an overlay is made of.
#[derive(Debug)]
pub(super) struct Overlay<'a> {
    /// Bottom first; at least one.
    pub(super) layers: &'a [PathBuf],
    pub(super) upper: &'a Path,
    pub(super) work: &'a Path,
    /// Whether the layers' own marks are attributes that every user may set.
    pub(super) userxattr: bool,
}

impl Overlay<'_> {
    /// Without devices: an image's nodes are none of the host's.
    pub(super) fn mount(&self, at: &Path) -> rustix::io::Result<()> {
        match self.mount_by_parameters(at) {
            Err(Errno::INVAL) => self.mount_by_descriptors(at),
            mounted => mounted,
        }
    }

    /// Each layer is a parameter of its own, so that no number of layers exceeds a page of options.
    /// Kernels before 6.8 do not know it (EINVAL).
    fn mount_by_parameters(&self, at: &Path) -> rustix::io::Result<()> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for layer in self.layers.iter().rev() {
            fsconfig_set_string(&context, "lowerdir+", layer)?;
        }
        fsconfig_set_string(&context, "upperdir", self.upper)?;
        fsconfig_set_string(&context, "workdir", self.work)?;
        if self.userxattr {
            fsconfig_set_flag(&context, "userxattr")?;
        }
        fsconfig_create(&context)?;
        let nodev = MountAttrFlags::MOUNT_ATTR_NODEV;
        let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, nodev)?;
        move_mount(&mounted, "", rustix::fs::CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    }

    /// By mount(2), whose options may be a page long; a parameter of fsconfig(2) ends at 256 bytes,
    /// which the paths of three layers exceed. Named by descriptors, 200 layers fit, and no
    /// character of a path can be taken for a separator.
    fn mount_by_descriptors(&self, at: &Path) -> rustix::io::Result<()> {
        let open = |path: &Path| -> rustix::io::Result<OwnedFd> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
        };
        let layers = self.layers.iter().rev().map(|layer| open(layer));
        let layers = layers.collect::<rustix::io::Result<Vec<_>>>()?;
        let (upper, work) = (open(self.upper)?, open(self.work)?);
        let mut options = String::from("lowerdir=");
        for (index, layer) in layers.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            // Writing to a string cannot fail.
            let _ = write!(options, "{separator}{}", name(layer));
        }
        let _ = write!(options, ",upperdir={},workdir={}", name(&upper), name(&work));
        if self.userxattr {
            options.push_str(",userxattr");
        }
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("overlay", at, "overlay", MountFlags::NODEV, &*options)
    }
}

fn name(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::StatVfsMountFlags;

    use super::*;

    type Way = fn(&Overlay<'_>, &Path) -> rustix::io::Result<()>;

    /// Mounts `count` layers by `way`, in a mount namespace of this thread's own; what the overlay
    /// shows: the file that all layers have, and how many files there are.
    fn shown(way: Way, count: usize) -> (String, usize) {
        let look = move || {
            crate::launch::storage::rootfs::leave_mount_namespace().unwrap();
            let directory = tempfile::tempdir().unwrap();
            // Not every file system may be an overlay's upper one; this one may.
            rustix::mount::mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), None)
                .unwrap();
            let make = |name: String| {
                let path = directory.path().join(name);
                fs::create_dir(&path).unwrap();
                path
            };
            let layers: Vec<PathBuf> = (0..count)
                .map(|index| {
                    // As long as a layer's name in the store, with what separates options.
                    let layer = make(format!("layer:{index:064},x"));
                    fs::write(layer.join(format!("of-{index}")), "").unwrap();
                    fs::write(layer.join("top"), index.to_string()).unwrap();
                    layer
                })
                .collect();
            let (upper, work, at) = (make("upper".into()), make("work".into()), make("at".into()));
            way(&Overlay { layers: &layers, upper: &upper, work: &work, userxattr: false }, &at)
                .unwrap();
            fs::write(at.join("written"), "").unwrap();
            assert!(rustix::fs::statvfs(&at).unwrap().f_flag.contains(StatVfsMountFlags::NODEV));
            let top = fs::read_to_string(at.join("top")).unwrap();
            let files = fs::read_dir(&at).unwrap().count();
            let detach = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(&at, detach).unwrap();
            rustix::mount::unmount(directory.path(), detach).unwrap();
            (top, files)
        };
        std::thread::spawn(look).join().unwrap()
    }

    #[test]
    fn older_kernels_take_as_many_layers() {
        if !rustix::process::geteuid().is_root() {
            return crate::tests::skip("older_kernels_take_as_many_layers needs root");
        }
        for count in [1, 5, 200] {
            let expected = ((count - 1).to_string(), count + 2);
            assert_eq!(shown(|overlay, at| overlay.mount_by_descriptors(at), count), expected);
            assert_eq!(shown(|overlay, at| overlay.mount(at), count), expected);
        }
    }
}
