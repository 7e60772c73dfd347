//! What a container holds on the host before its launcher leaves the host's mount namespace: its
//! named volumes, those in memory mounted for all who use them, and the host's own mounts where
//! the container's are to be seen there.
//!
//! Who uses a volume in memory has a lock on its marker in `RUN/volumes`; it is unmounted by the
//! last of them, or, where that was killed, by the next launcher that looks.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::mount::{UnmountFlags, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::disk::{self, Mode};
use crate::launch::place::Place;
use crate::launch::storage::file_system;
use crate::launch::storage::propagation::Host;
use crate::launch::storage::volume::{Source, Volume};
use crate::launch::storage::volumes::{Backing, Error, Volumes};
use crate::model::Scope;
use crate::model::failure::chain;

/// What is held, until this is dropped: after the container's end.
#[derive(Debug)]
pub(crate) struct Held {
    volumes: Volumes,
    in_memory: Vec<InMemory>,
    /// The mount namespace that those are mounted in.
    namespace: Option<OwnedFd>,
    /// Where the container's mounts are to be seen.
    pub(crate) host: Option<Host>,
}

#[derive(Debug)]
struct InMemory {
    name: String,
    marker: File,
    path: PathBuf,
}

impl Held {
    /// Makes the named volumes that are not there, and mounts those in memory.
    pub(crate) fn take(place: &Place, asked: &[Volume]) -> Result<Self, Error> {
        let volumes = Volumes::open(place);
        let mut held = Self { volumes, in_memory: Vec::new(), namespace: None, host: None };
        for volume in asked {
            if let Source::Volume { name, anonymous, .. } = &volume.source {
                let named = held.volumes.ensure(name, *anonymous)?;
                if let Backing::Tmpfs { data, words } = named.backing()?
                    && held.in_memory.iter().all(|other| other.name != *name)
                {
                    // Each of them has a mount namespace of its own.
                    if place.scope == Scope::User {
                        return Err(Error::InMemory(name.clone()));
                    }
                    held.mount(place, name, &data, &words)?;
                }
            }
        }
        if asked.iter().any(|volume| volume.options.propagation.is_shared()) {
            held.host = Some(Host::open().map_err(|error| Error::io("open", "/", error))?);
        }
        Ok(held)
    }

    fn mount(
        &mut self,
        place: &Place,
        name: &str,
        data: &[String],
        words: &[String],
    ) -> Result<(), Error> {
        let at = self.volumes.data(name);
        let markers = markers(place);
        let path = markers.join(name);
        let failed = |source| Error::io("mount the volume at", &at, source);
        let _lock = self.volumes.hold(name)?;
        if self.namespace.is_none() {
            self.namespace = Some(File::open("/proc/self/ns/mnt").map_err(failed)?.into());
        }
        disk::make_private(&markers).map_err(failed)?;
        let marker = File::options().create(true).truncate(false).write(true).open(&path);
        let marker = marker.map_err(failed)?;
        if disk::try_lock(&marker).map_err(failed)? {
            if is_mount(&at) {
                // Of one who was killed, and whoever saw its files is gone.
                unmount(&at, UnmountFlags::DETACH).map_err(|error| failed(error.into()))?;
            }
            file_system::tmpfs(&at, data, words).map_err(failed)?;
            marker.set_len(1).map_err(failed)?;
        }
        disk::lock(&marker, Mode::Shared).map_err(failed)?;
        self.in_memory.push(InMemory { name: name.to_owned(), marker, path });
        Ok(())
    }

    /// Whether nobody has filled the volume in memory yet. Asked under the volume's lock.
    pub(crate) fn is_fresh(&self, name: &str) -> bool {
        let of_it = self.in_memory.iter().find(|volume| volume.name == name);
        of_it.is_some_and(|volume| volume.marker.metadata().is_ok_and(|marker| marker.len() > 0))
    }

    /// The volume in memory is filled.
    pub(crate) fn filled(&self, name: &str) -> std::io::Result<()> {
        let of_it = self.in_memory.iter().find(|volume| volume.name == name);
        of_it.map_or(Ok(()), |volume| volume.marker.set_len(0))
    }

    fn release(&self) -> Result<(), Error> {
        let Some(namespace) = &self.namespace else { return Ok(()) };
        let back = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount));
        back.map_err(|error| Error::io("go back to the mount namespace of", "/", error))?;
        self.in_memory.iter().try_for_each(|volume| {
            drop_unused(&self.volumes, &volume.name, &volume.marker, &volume.path)
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            eprintln!("Warning: {}, ignoring", chain(&error));
        }
    }
}

/// Unmounts the volumes in memory that those who used them, killed, have left.
pub(crate) fn sweep(place: &Place) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(markers(place)) else { return Ok(()) };
    let volumes = Volumes::open(place);
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Ok(marker) = File::options().write(true).open(&path) {
            drop_unused(&volumes, name, &marker, &path)?;
        }
    }
    Ok(())
}

/// Unmounts a volume in memory that nobody has a lock on but us.
fn drop_unused(volumes: &Volumes, name: &str, marker: &File, path: &Path) -> Result<(), Error> {
    let _lock = match volumes.hold(name) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        lock => Some(lock?),
    };
    let at = volumes.data(name);
    let failed = |source| Error::io("unmount the volume at", &at, source);
    if disk::try_lock(marker).map_err(failed)? && disk::is_at(marker, path) {
        if is_mount(&at) {
            unmount(&at, UnmountFlags::DETACH).map_err(|error| failed(error.into()))?;
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    Ok(())
}

fn markers(place: &Place) -> PathBuf {
    place.run.join("volumes")
}

fn is_mount(path: &Path) -> bool {
    rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
