//! Where images, containers and running state lie.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::config::{self, Paths, RegistrySettings, Scope, Settings};
use crate::launch::{Error, userns};
use crate::model::ContainerId;
use crate::model::failure::chain;
use crate::registry::{self, ShortNames};
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
    /// What the configuration says of registries, once it is read.
    registry: OnceCell<RegistrySettings>,
    /// What registries.conf(5) says of names without a registry, once it is read.
    names: OnceCell<ShortNames>,
}

impl Place {
    /// As the flags say, else the configuration. A configuration that cannot be read must not keep
    /// a service from starting: then the directories are the usual ones, and it is said.
    pub(crate) fn find(root: Option<PathBuf>, runroot: Option<PathBuf>) -> Result<Self, Error> {
        let scope = Scope::current();
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(|source| Error::file("find", path, source))
        };
        let registry = OnceCell::new();
        let (state, run) = match (root, runroot) {
            (Some(state), Some(run)) => (state, run),
            (root, runroot) => {
                let settings = configuration(scope);
                registry.get_or_init(|| of_registries(settings.as_ref()));
                let paths = settings.map_or_else(|| Paths::of(scope), |it| Ok(it.paths))?;
                (root.unwrap_or(paths.state), runroot.unwrap_or(paths.run))
            }
        };
        let registries = registry::Paths::from_environment();
        let (state, run) = (absolute(state)?, absolute(run)?);
        Ok(Self { scope, state, run, registries, registry, names: OnceCell::new() })
    }

    /// How registries are asked.
    pub(crate) fn asking(&self, tls_verify: Option<bool>) -> registry::Options {
        let settings =
            self.registry.get_or_init(|| of_registries(configuration(self.scope).as_ref()));
        let options = registry::Options::of(&self.state);
        registry::Options {
            tls_verify,
            paths: self.registries.clone(),
            proxies: options.proxies.configured(settings),
            ..options
        }
    }

    /// What names without a registry stand for.
    pub(crate) fn short_names(&self) -> Result<&ShortNames, Error> {
        if let Some(names) = self.names.get() {
            return Ok(names);
        }
        let names = ShortNames::load(&self.registries)?;
        Ok(self.names.get_or_init(|| names))
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
            registry: OnceCell::new(),
            names: OnceCell::new(),
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

/// What is configured; `None` where that cannot be read, which is said.
fn configuration(scope: Scope) -> Option<Settings> {
    let settings = config::load(scope);
    settings.inspect_err(|error| eprintln!("Warning: {}, ignoring", chain(error))).ok()
}

fn of_registries(settings: Option<&Settings>) -> RegistrySettings {
    settings.map(|settings| settings.registry.clone()).unwrap_or_default()
}
