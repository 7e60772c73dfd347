//! A container whose root is somebody else on the host: its files, as it is to see them, and all
//! that it mounts, in places that its root can reach.
//!
//! On disk the files of layers, of what it writes and of named volumes belong to the container's own
//! IDs, whatever they are on the host; the mounts that it gets show them by its user namespace
//! (mount_setattr(2), "ID-mapped mounts"). What it binds of the host is the host's, as it is.
//!
//! An ordinary user can give no mount a map: there the layers are copies with other owners
//! ([`Own::layers`]), and all else belongs on disk to whom it belongs.

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
const STAGE: &str = "/run/updaterd-mounts";
/// The same, where no directory can be made: what is there is hidden while the container is being
/// started, and from this process alone.
const STAGES_OF_USERS: [&str; 4] = ["/mnt", "/media", "/srv", "/opt"];

/// The container's mounts are ready, until this is dropped.
#[derive(Debug)]
pub(crate) struct Shifted {
    stage: PathBuf,
}

impl Shifted {
    fn open(own: &Own) -> io::Result<Self> {
        let stage = if own.is_shown() {
            std::fs::create_dir_all(STAGE)?;
            STAGE
        } else {
            let there = STAGES_OF_USERS.into_iter().find(|path| Path::new(path).is_dir());
            there.ok_or_else(|| io::Error::other("there is none of /mnt, /media, /srv and /opt"))?
        };
        file_system::tmpfs(Path::new(stage), &["mode=0711".to_owned()], &[])?;
        Ok(Self { stage: stage.into() })
    }
}

impl Drop for Shifted {
    fn drop(&mut self) {
        let _ = unmount(&self.stage, UnmountFlags::DETACH);
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
    let io = Error::Stage;
    let whole = if own.is_shown() {
        rootfs.unmount();
        None
    } else {
        Some(Tree::clone_of(rootfs.path(), false).map_err(io)?)
    };
    let shifted = Shifted::open(own).map_err(io)?;
    let stage = &*shifted.stage;
    let root = stage.join("rootfs");
    std::fs::create_dir(&root).map_err(io)?;
    match whole {
        Some(tree) => tree.attach(&root).map_err(io)?,
        None => rootfs.mount_mapped(stage, &root, own)?,
    }
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

/// Tells `exec` of the root file system by the name that everybody knows, for it has no stage; and of
/// a network that the container was started in.
pub(crate) fn settle(bundle: &Path, rootfs: &Path, in_network: bool) -> Result<(), LaunchError> {
    let config = bundle.join("config.json");
    let failed = |error: oci_spec::OciSpecError| LaunchError::Spec(error.to_string());
    let mut spec = Spec::load(&config).map_err(failed)?;
    if let Some(root) = spec.root_mut() {
        root.set_path(rootfs.to_owned());
    }
    if in_network && let Some(linux) = spec.linux_mut() {
        let network = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network);
        let mut namespaces = linux.namespaces().clone().unwrap_or_default();
        namespaces.push(network.build().map_err(failed)?);
        linux.set_namespaces(Some(namespaces));
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
        let is_ours = source.starts_with(&place.state) || source.starts_with(&place.run);
        if !own.is_shown() && source.starts_with(&place.run) && metadata.is_file() {
            // The files of names, and the like.
            let (uid, gid) = own.root()?;
            std::os::unix::fs::chown(&source, Some(uid), Some(gid)).map_err(failed)?;
        }
        let tree = Tree::clone_of(&source, recursive).map_err(failed)?;
        if is_ours && own.is_shown() {
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
