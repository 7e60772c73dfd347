//! Where images, containers and running state lie.

use std::path::{Path, PathBuf};

use crate::config::{self, Paths, Scope};
use crate::launch::Error;
use crate::model::ContainerId;
use crate::model::failure::chain;
use crate::store::Store;
use crate::store::containers::Records;

/// The directories of one run of this program.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) state: PathBuf,
    pub(crate) run: PathBuf,
}

impl Place {
    /// As the flags say, else the configuration. A configuration that cannot be read must not keep
    /// a service from starting: then the directories are the usual ones, and it is said.
    pub(crate) fn find(root: Option<PathBuf>, runroot: Option<PathBuf>) -> Result<Self, Error> {
        if Scope::current() != Scope::System {
            return Err(Error::NotRoot);
        }
        let paths = match (&root, &runroot) {
            (Some(_), Some(_)) => Paths::of(Scope::System)?,
            _ => match config::load(Scope::System) {
                Ok(settings) => settings.paths,
                Err(error) => {
                    eprintln!("Warning: {}, ignoring", chain(&error));
                    Paths::of(Scope::System)?
                }
            },
        };
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(|source| Error::file("find", path, source))
        };
        Ok(Self {
            state: absolute(root.unwrap_or(paths.state))?,
            run: absolute(runroot.unwrap_or(paths.run))?,
        })
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
