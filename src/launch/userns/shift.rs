//! A container whose root is somebody else on the host: its files, as it is to see them, and all
//! that it mounts, in places that its root can reach.
//!
//! On disk the files of layers, of what it writes and of named volumes belong to the container's own
//! IDs, whatever they are on the host; the mounts that it gets show them by its user namespace
//! (mount_setattr(2), "ID-mapped mounts"). What it binds of the host is the host's, as it is.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceBuilder, LinuxNamespaceType, Mount, Spec};
use rustix::mount::{UnmountFlags, unmount};

use crate::launch::Error as LaunchError;
use crate::launch::place::Place;
use crate::launch::storage::file_system;
use crate::launch::storage::rootfs::Rootfs;
use crate::launch::storage::tree::Tree;
use crate::launch::userns::Error;
use crate::launch::userns::own::Own;

/// The group that owns terminals, on every Linux.
const TTY: u32 = 5;
/// In our own mount namespace, where no directory on the way keeps anybody out.
pub(crate) const STAGE: &str = "/run/updaterd-mounts";

/// The container's mounts are ready, until this is dropped.
#[derive(Debug)]
pub(crate) struct Shifted;

impl Drop for Shifted {
    fn drop(&mut self) {
        let _ = unmount(STAGE, UnmountFlags::DETACH);
    }
}

/// Makes them ready, and changes the specification in `bundle`, which is the container's whole one
/// but for its user namespace.
pub(crate) fn shift(
    place: &Place,
    own: &Own,
    rootfs: &Rootfs,
    bundle: &Path,
) -> Result<Shifted, LaunchError> {
    let config = bundle.join("config.json");
    let failed = |error: oci_spec::OciSpecError| LaunchError::Spec(error.to_string());
    let mut spec = Spec::load(&config).map_err(failed)?;
    // Taken before the stage hides anything.
    let mut binds = Vec::new();
    for mount in spec.mounts().iter().flatten() {
        binds.push(if is_bind(mount) { Some(Bind::take(place, own, mount)?) } else { None });
    }
    rootfs.unmount();
    let stage = Path::new(STAGE);
    let io = Error::Stage;
    // Also below what is mounted next: for `exec`, runc looks for a root where it was.
    std::fs::create_dir_all(stage.join("rootfs")).map_err(io)?;
    file_system::tmpfs(stage, &["mode=0711".to_owned()], &[]).map_err(io)?;
    let shifted = Shifted;
    let root = stage.join("rootfs");
    std::fs::create_dir(&root).map_err(io)?;
    rootfs.mount_mapped(stage, &root, own)?;
    for (index, (mount, bind)) in spec.mounts_mut().iter_mut().flatten().zip(binds).enumerate() {
        leave_tty_group(own, mount);
        if let Some(bind) = bind {
            let at = stage.join(format!("mount-{index}"));
            bind.attach(&at).map_err(io)?;
            mount.set_source(Some(at));
        }
    }
    if let Some(root_of) = spec.root_mut() {
        root_of.set_path(root);
    }
    if let Some(linux) = spec.linux_mut() {
        let namespace = LinuxNamespaceBuilder::default()
            .typ(LinuxNamespaceType::User)
            .path(own.path())
            .build()
            .map_err(failed)?;
        let mut namespaces = linux.namespaces().clone().unwrap_or_default();
        namespaces.push(namespace);
        // Whose root it is, a runtime may want to read here.
        let (uids, gids) = own.mappings().map_err(failed)?;
        linux
            .set_namespaces(Some(namespaces))
            .set_uid_mappings(Some(uids))
            .set_gid_mappings(Some(gids));
    }
    spec.save(&config).map_err(failed)?;
    Ok(shifted)
}

/// Names the root file system as everybody knows it: `exec` has no stage.
pub(crate) fn forget_stage(bundle: &Path, rootfs: &Path) -> Result<(), LaunchError> {
    let config = bundle.join("config.json");
    let failed = |error: oci_spec::OciSpecError| LaunchError::Spec(error.to_string());
    let mut spec = Spec::load(&config).map_err(failed)?;
    if let Some(root) = spec.root_mut() {
        root.set_path(rootfs.to_owned());
    }
    spec.save(config).map_err(failed)
}

/// Terminals belong to a group that a small map has not.
fn leave_tty_group(own: &Own, mount: &mut Mount) {
    if mount.typ().as_deref() == Some("devpts") && own.group(TTY).is_none() {
        let mut options = mount.options().clone().unwrap_or_default();
        options.retain(|option| !option.starts_with("gid="));
        mount.set_options(Some(options));
    }
}

fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind")
}

/// What is bound into the container, and nowhere yet.
struct Bind {
    tree: Tree,
    is_directory: bool,
}

impl Bind {
    fn take(place: &Place, own: &Own, mount: &Mount) -> Result<Self, Error> {
        let failed = |source| Error::Bind(mount.destination().clone(), source);
        let source = mount.source().clone().unwrap_or_default();
        let options = mount.options().as_deref().unwrap_or_default();
        let recursive = options.iter().any(|option| option == "rbind");
        let metadata = std::fs::metadata(&source).map_err(failed)?;
        let tree = Tree::clone_of(&source, recursive).map_err(failed)?;
        if source.starts_with(&place.state) || source.starts_with(&place.run) {
            match tree.map_ids(own.descriptor(), recursive) {
                // It shows its files by another map already, which was asked for.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
                mapped => {
                    mapped.map_err(|source| Error::Map(mount.destination().clone(), source))?
                }
            }
        }
        Ok(Self { tree, is_directory: metadata.is_dir() })
    }

    fn attach(self, at: &Path) -> io::Result<()> {
        if self.is_directory {
            std::fs::create_dir(at)?;
        } else {
            std::fs::File::create(at)?;
        }
        self.tree.attach(at)
    }
}

/// Shows a directory by the user namespace at `at`, which is made.
pub(crate) fn show(directory: &Path, at: PathBuf, by: BorrowedFd<'_>) -> Result<PathBuf, Error> {
    let mapped = || {
        std::fs::create_dir(&at)?;
        let tree = Tree::clone_of(directory, false)?;
        tree.map_ids(by, false)?;
        tree.attach(&at)
    };
    mapped().map_err(|source| Error::Map(directory.to_owned(), source))?;
    Ok(at)
}
