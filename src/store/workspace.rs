//! Directories that live as long as whoever made them, told by a lock on each: work in progress, and what is
//! held. Of who died they are removed later ([`Store::bury`]).

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::erase::{Brake, Pace};
use super::{Error, Store};
use crate::disk::{self, Mode};

/// Where work in progress is, below the store.
pub(super) const WORK: &str = "tmp";
/// How names of pulls' work begin: of all others, nobody inherits.
const PULL: &str = "pull-";

/// A directory that is locked while its owner lives, and removed on drop: which takes its time where much was
/// unpacked, so not on a thread that others wait for.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    _locked: File,
    /// Whether it stays when this is dropped.
    stays: bool,
}

impl Workspace {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it slowly. What is left where `brake` ends that is a dead process's.
    pub(super) fn erase(mut self, brake: &Brake) {
        self.stays = true;
        remove(&self.path, &mut Pace::new(brake));
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Err(cause) = disk::remove_tree(&self.path) {
            tracing::debug!(path = %self.path.display(), %cause, "cannot remove work of a pull, ignoring");
        }
    }
}

/// Whether a directory is that of a pull.
pub(super) fn is_of_pull(work: &Path) -> bool {
    work.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(PULL))
}

/// Removes what nobody is at, or as much of it as can be now.
pub(super) fn remove(path: &Path, pace: &mut Pace<'_>) {
    if let Err(cause) = disk::remove_tree_while(path, &mut || pace.go_on()) {
        tracing::debug!(path = %path.display(), %cause, "cannot remove, ignoring");
    }
}

impl Store {
    /// A directory for work beside the images, on their file system.
    pub fn scratch(&self) -> Result<Workspace, Error> {
        self.create()?;
        self.workspace()
    }

    pub(super) fn workspace(&self) -> Result<Workspace, Error> {
        self.workspace_in(WORK, "")
    }

    /// One that nothing comes into but what the pull puts there itself.
    pub(super) fn pull_workspace(&self) -> Result<Workspace, Error> {
        self.workspace_in(WORK, PULL)
    }

    /// A directory of the caller's own below `parent`, which is below the store; its name begins so.
    pub(super) fn workspace_in(&self, parent: &str, begin: &str) -> Result<Workspace, Error> {
        let parent = self.root.join(parent);
        disk::make_private(&parent).map_err(|cause| Error::io("create", &parent, cause))?;
        loop {
            let path = parent.join(format!("{begin}{:016x}", fastrand::u64(..)));
            let create = || -> io::Result<Option<File>> {
                match DirBuilder::new().mode(0o700).create(&path) {
                    Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
                    made => made?,
                }
                let dir = match File::open(&path) {
                    // A sweep has taken it for a dead one's before it was locked.
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
                    opened => opened?,
                };
                disk::lock(&dir, Mode::Exclusive)?;
                Ok(disk::is_at(&dir, &path).then_some(dir))
            };
            let made = create().map_err(|cause| Error::io("create", &path, cause))?;
            if let Some(locked) = made {
                return Ok(Workspace { path, _locked: locked, stays: false });
            }
        }
    }

    /// The directories below `parent` whose owners died. Each is the caller's while its lock is.
    pub(super) fn dead_in(&self, parent: &str) -> impl Iterator<Item = (PathBuf, File)> + use<> {
        let entries = std::fs::read_dir(self.root.join(parent)).into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let path = entry.path();
            let dir = File::open(&path).ok()?;
            let is_dead = disk::try_lock(&dir).unwrap_or_else(|cause| {
                tracing::debug!(path = %path.display(), %cause, "cannot lock, ignoring");
                false
            });
            is_dead.then_some((path, dir))
        })
    }
}
