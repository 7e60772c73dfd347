//! Directories for work in progress: gone with their owner, or dropped by the next pull.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::{Error, Store};
use crate::disk::{self, Mode};

/// A directory below `tmp/`, locked while its owner lives, removed on drop: which takes its time
/// where much was unpacked, so not on a thread that others wait for.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    _locked: File,
}

impl Workspace {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(cause) = disk::remove_tree(&self.path) {
            tracing::debug!(path = %self.path.display(), %cause, "cannot remove work of a pull, ignoring");
        }
    }
}

impl Store {
    /// A directory for work beside the images, on their file system.
    pub fn scratch(&self) -> Result<Workspace, Error> {
        self.create()?;
        self.workspace()
    }

    pub(super) fn workspace(&self) -> Result<Workspace, Error> {
        loop {
            let path = self.root.join("tmp").join(format!("{:016x}", fastrand::u64(..)));
            let create = || -> io::Result<Option<File>> {
                match DirBuilder::new().mode(0o700).create(&path) {
                    Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
                    made => made?,
                }
                let dir = File::open(&path)?;
                disk::lock(&dir, Mode::Exclusive)?;
                // Another pull may have taken it for a dead one's before it was locked.
                Ok(disk::is_at(&dir, &path).then_some(dir))
            };
            match create() {
                Ok(Some(locked)) => return Ok(Workspace { path, _locked: locked }),
                Ok(None) => {}
                Err(cause) if cause.kind() == io::ErrorKind::NotFound && self.has_tmp() => {}
                Err(cause) => return Err(Error::io("create", &path, cause)),
            }
        }
    }

    fn has_tmp(&self) -> bool {
        self.root.join("tmp").is_dir()
    }

    /// Removes the work of processes that died. What cannot be removed now stays for the next time.
    pub(super) fn drop_dead_work(&self) {
        let Ok(entries) = std::fs::read_dir(self.root.join("tmp")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(dir) = File::open(&path) else { continue };
            match disk::try_lock(&dir) {
                Ok(false) => {}
                Err(cause) => {
                    tracing::debug!(path = %path.display(), %cause, "cannot lock, ignoring");
                }
                Ok(true) => {
                    let removed = disk::remove_tree(&path);
                    tracing::debug!(path = %path.display(), ?removed, "dropped work of a dead pull");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dead_lose_their_work() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.create().unwrap();
        let alive = store.workspace().unwrap();
        let dead = dir.path().join("tmp/0123");
        std::fs::create_dir_all(dead.join("below")).unwrap();
        store.drop_dead_work();
        assert!(alive.path().is_dir() && !dead.exists());
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists());
    }
}
