//! Where images, containers and running state lie.

use std::path::{Path, PathBuf};

use crate::config::{self, Paths, Scope};
use crate::launch::{Error, userns};
use crate::model::ContainerId;
use crate::model::failure::chain;
use crate::registry;
use crate::store::Store;
use crate::store::containers::{Process, Records};

/// The directories of one run of this program.
#[derive(Debug)]
pub(crate) struct Place {
    /// Whose: the host's, or an ordinary user's.
    pub(crate) scope: Scope,
    pub(crate) state: PathBuf,
    pub(crate) run: PathBuf,
    /// Where registries' settings and credentials are: found before a user is root of anything.
    pub(crate) registries: registry::Paths,
}

impl Place {
    /// As the flags say, else the configuration. A configuration that cannot be read must not keep
    /// a service from starting: then the directories are the usual ones, and it is said.
    pub(crate) fn find(root: Option<PathBuf>, runroot: Option<PathBuf>) -> Result<Self, Error> {
        let scope = Scope::current();
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(|source| Error::file("find", path, source))
        };
        let (state, run) = match (root, runroot) {
            (Some(state), Some(run)) => (state, run),
            (root, runroot) => {
                let paths = match config::load(scope) {
                    Ok(settings) => settings.paths,
                    Err(error) => {
                        eprintln!("Warning: {}, ignoring", chain(&error));
                        Paths::of(scope)?
                    }
                };
                (root.unwrap_or(paths.state), runroot.unwrap_or(paths.run))
            }
        };
        let registries = registry::Paths::from_environment();
        Ok(Self { scope, state: absolute(state)?, run: absolute(run)?, registries })
    }

    /// From here on, an ordinary user's process is root of a user namespace, and may make, change
    /// and remove what belongs to the users in it. For root, nothing changes.
    ///
    /// Before this, the process may send signals to whatever runs in any of the user's namespaces;
    /// behind it, only to what is the user's own on the host (user_namespaces(7)).
    pub(crate) fn enter(&self) -> Result<(), Error> {
        if self.scope == Scope::User && !self.has_entered() { Ok(userns::enter()?) } else { Ok(()) }
    }

    /// The same, in the namespace that `other` is in already, where there is such a process: what
    /// belongs to that namespace can be reached, signalled and joined from there.
    pub(crate) fn join(&self, other: Option<Process>) -> Result<(), Error> {
        match other.filter(|_| self.scope == Scope::User && !self.has_entered()) {
            Some(other) => Ok(userns::join(other)?),
            None => self.enter(),
        }
    }

    /// Whether this process may remove what belongs to the users of containers.
    pub(crate) fn has_entered(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    /// For tests.
    #[cfg(test)]
    pub(crate) fn below(directory: &Path) -> Self {
        Self {
            scope: Scope::System,
            state: directory.join("state"),
            run: directory.join("run"),
            registries: registry::Paths::default(),
        }
    }

    pub(crate) fn store(&self) -> Result<Store, Error> {
        Ok(Store::open(&self.state)?)
    }

    pub(crate) fn records(&self) -> Records {
        Records::open(&self.run)
    }

    /// What a container writes, and the work directory of its overlay: on the layers' file system.
    pub(crate) fn writable(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// The directories of what containers write.
    pub(crate) fn containers(&self) -> PathBuf {
        self.state.join("containers")
    }

    /// The runtime's own records.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.run.join("runtime")
    }

    /// The directories as flags, for a child process of the same place.
    pub(crate) fn flags(&self) -> [(&'static str, &Path); 2] {
        [("--root", &self.state), ("--runroot", &self.run)]
    }
}
