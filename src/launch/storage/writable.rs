//! What a container writes: a directory on the layers' file system, locked while it is in use.
//! Where two launchers with different running state share their images, the lock alone tells that
//! a directory is not a leftover.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, Mode};
use crate::launch::Error;
use crate::launch::place::Place;
use crate::model::ContainerId;
use crate::model::failure::chain;

/// A container's directory, in use as long as this lives.
#[derive(Debug)]
pub(crate) struct InUse {
    _locked: File,
}

/// A directory that has lost its name already, and is still to be removed.
#[derive(Debug)]
#[must_use = "it takes room until it is removed"]
pub(crate) struct Discarded {
    path: PathBuf,
    _locked: Option<File>,
}

/// Makes the directory of a new container.
pub(crate) fn claim(place: &Place, id: &ContainerId) -> Result<InUse, Error> {
    let path = place.writable(id);
    let failed = |source: io::Error| Error::file("make", &path, source);
    loop {
        disk::make_private(&path).map_err(failed)?;
        let made = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            made => made.map_err(failed)?,
        };
        disk::lock(&made, Mode::Exclusive).map_err(failed)?;
        // Somebody may have taken it for a leftover before it was locked.
        if disk::is_at(&made, &path) {
            return Ok(InUse { _locked: made });
        }
    }
}

/// Takes the directory away from its name, in one step; `None` where there is none.
pub(crate) fn discard(place: &Place, id: &ContainerId) -> Result<Option<Discarded>, Error> {
    let path = place.writable(id);
    let locked = File::open(&path).ok();
    if let Some(file) = &locked {
        // Only to keep those away who tidy up what nobody holds: its user is gone, or ourselves.
        let _ = disk::try_lock(file);
    }
    put_aside(place, id, &path, locked)
}

/// The same for a directory that no record names; `None` where it is in use.
pub(crate) fn discard_unused(place: &Place, id: &ContainerId) -> Result<Option<Discarded>, Error> {
    let path = place.writable(id);
    let Ok(file) = File::open(&path) else { return Ok(None) };
    match disk::try_lock(&file) {
        Ok(false) => Ok(None),
        Err(error) => Err(Error::file("lock", path, error)),
        Ok(true) => put_aside(place, id, &path, Some(file)),
    }
}

/// Whether somebody uses the directory now; one that is not there is in nobody's use.
pub(crate) fn is_in_use(place: &Place, id: &ContainerId) -> bool {
    File::open(place.writable(id)).is_ok_and(|file| matches!(disk::try_lock(&file), Ok(false)))
}

fn put_aside(
    place: &Place,
    id: &ContainerId,
    path: &Path,
    locked: Option<File>,
) -> Result<Option<Discarded>, Error> {
    let work = place.state.join("tmp");
    let aside = work.join(format!("container-{id}"));
    match disk::make_private(&work).and_then(|()| std::fs::rename(path, &aside)) {
        Ok(()) => Ok(Some(Discarded { path: aside, _locked: locked })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("put aside", path, error)),
    }
}

impl Discarded {
    /// What lies at a path below the store's `tmp`.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, _locked: None }
    }

    /// A tree that cannot be removed costs room, and nobody's start. The next pull tries again.
    pub(crate) fn remove(self) {
        if let Err(error) = disk::remove_tree(&self.path) {
            let error = Error::file("remove", &self.path, error);
            eprintln!("Warning: {}, ignoring", chain(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_no_leftover() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::below(directory.path());
        let id: ContainerId = "a".repeat(64).parse().unwrap();
        let in_use = claim(&place, &id).unwrap();
        assert!(discard_unused(&place, &id).unwrap().is_none());
        assert!(place.writable(&id).is_dir());
        drop(in_use);
        std::fs::create_dir(place.writable(&id).join("upper")).unwrap();
        let discarded = discard_unused(&place, &id).unwrap().unwrap();
        assert!(!place.writable(&id).exists() && discarded.path.join("upper").is_dir());
        discarded.remove();
        assert_eq!(std::fs::read_dir(place.state.join("tmp")).unwrap().count(), 0);
        assert!(discard(&place, &id).unwrap().is_none());
    }
}
