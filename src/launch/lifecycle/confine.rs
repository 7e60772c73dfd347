//! How a container is confined on this host: what its flags say, and what they depend on here.

use std::fs::File;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxSeccomp;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::launch::Error;
use crate::launch::args::Create;
use crate::launch::isolation::capability::Capabilities;
use crate::launch::isolation::namespaces::{Namespace, Namespaces};
use crate::launch::isolation::owner::{self, CGROUP, IPC, Ipc, Kind, MOUNT, Owner, PID, UTS};
use crate::launch::isolation::paths::{Paths, Unmask};
use crate::launch::isolation::seccomp::profile::{self, Host};
use crate::launch::isolation::seccomp::{Filter, cache, rules};
use crate::launch::isolation::security::{Seccomp, Security, apparmor_is_enabled};
use crate::launch::isolation::view::View;
use crate::launch::isolation::{self, device_rule, sysctl};
use crate::launch::lifecycle::asked::Asked;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::place::Place;
use crate::launch::process::attributes::Attributes;
use crate::launch::process::umask;
use crate::launch::runtime::Runtime;
use crate::launch::storage::volume::Volume;
use crate::model::failure::chain;
use crate::model::{ContainerId, Scope};
use crate::store::containers::{Process, Record};

/// What a container shares with others, and sees of the kernel.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    pub(crate) namespaces: Namespaces,
    pub(crate) view: View,
    /// The host name that it has of others.
    pub(crate) hostname: Option<String>,
    /// Shared memory and message queues that are not its own.
    pub(crate) volumes: Vec<Volume>,
    /// Namespaces of others, to be kept open until the container has been started.
    pub(crate) held: Vec<File>,
}

impl Confinement {
    /// What the flags choose; all else is as in `namespaces`, which the container has without them.
    pub(crate) fn new(
        place: &Place,
        create: &Create,
        asked: &Asked,
        namespaces: Namespaces,
        bundle: &Path,
    ) -> Result<Self, Error> {
        asked.security.check(apparmor_is_enabled()).map_err(isolation::Error::from)?;
        asked.limits.check().map_err(isolation::Error::from)?;
        let mut confinement = Self { namespaces, ..Self::default() };
        confinement.choose(place, create, bundle)?;
        if create.network.hostname.is_some() && !confinement.namespaces.uts.is_own() {
            return Err(isolation::Error::Hostname.into());
        }
        let Namespaces { ipc, network, uts, .. } = &confinement.namespaces;
        let has = |namespace: &Namespace| *namespace != Namespace::Host;
        let own = sysctl::Own { ipc: has(ipc), network: has(network), uts: has(uts) };
        let flags = &create.isolation;
        let parameters = sysctl::read(&flags.sysctl, own).map_err(isolation::Error::from)?;
        sysctl::check_there(&parameters, Path::new("/proc/sys")).map_err(isolation::Error::from)?;
        let unmask = if flags.privileged { &Unmask::All } else { &asked.security.unmask };
        let devices = match flags.privileged {
            true => device_rule::of_host(Path::new("/dev"))
                .map_err(|source| Error::file("list the devices in", "/dev", source))?,
            false => Vec::new(),
        };
        let of_user = place.scope == Scope::User;
        let host_proc = of_user && confinement.namespaces.pid == Namespace::Host;
        if host_proc && !asked.security.proc_options.is_empty() {
            return Err(isolation::Error::ProcOptions.into());
        }
        if of_user && !asked.devices.is_empty() {
            return Err(isolation::Error::DeviceRules.into());
        }
        confinement.view = View {
            host_proc,
            paths: Paths::new(unmask, &asked.security.mask),
            parameters,
            proc_options: asked.security.proc_options.clone(),
            writable: flags.privileged,
            no_shared_memory: flags.ipc == Some(Ipc::None),
            devices,
        };
        Ok(confinement)
    }

    fn choose(&mut self, place: &Place, create: &Create, bundle: &Path) -> Result<(), Error> {
        let flags = &create.isolation;
        if let Some(owner) = &flags.pid {
            self.namespaces.pid = self.resolve(place, PID, owner)?;
        }
        if let Some(owner) = &flags.cgroupns {
            self.namespaces.cgroup = self.resolve(place, CGROUP, owner)?;
        }
        if let Some(owner) = &flags.uts {
            self.namespaces.uts = self.resolve(place, UTS, owner)?;
            let failed = |error| Error::system("learn the host name", error);
            self.hostname = match (&self.namespaces.uts, self.held.last()) {
                (Namespace::Own, _) => None,
                (Namespace::At(_), Some(file)) => Some(owner::host_name(file).map_err(failed)?),
                _ => Some(rustix::system::uname().nodename().to_string_lossy().into_owned()),
            };
        }
        if let Some(ipc) = &flags.ipc {
            self.namespaces.ipc = self.resolve(place, IPC, ipc.owner())?;
            self.share_memory(place, ipc, bundle)?;
        }
        Ok(())
    }

    fn resolve(&mut self, place: &Place, kind: Kind, owner: &Owner) -> Result<Namespace, Error> {
        let file = match owner {
            Owner::Private => return Ok(Namespace::Own),
            Owner::Host => return Ok(Namespace::Host),
            Owner::Path(path) => owner::open(kind, path).map_err(isolation::Error::from)?,
            Owner::Container(name) => of_container(place, kind, name)?,
        };
        let namespace = owner::held(&file);
        self.held.push(file);
        Ok(namespace)
    }

    /// What is shared by name lies in file systems: those of whoever has the namespace.
    fn share_memory(&mut self, place: &Place, ipc: &Ipc, bundle: &Path) -> Result<(), Error> {
        let mut bind = |source: &Path, target: &str| {
            let options = vec!["noexec".to_owned()];
            self.volumes.push(Volume::bound(source.to_owned(), target.into(), &options));
        };
        match ipc.owner() {
            Owner::Private | Owner::Path(_) => {}
            Owner::Host => {
                for directory in ["/dev/shm", "/dev/mqueue"] {
                    if Path::new(directory).is_dir() {
                        bind(Path::new(directory), directory);
                    }
                }
            }
            Owner::Container(name) => {
                let record = containers::find(place, name)?;
                refuse_private(place, &record)?;
                let mounts = of_container(place, MOUNT, name)?;
                let failed = |source| Error::file("share /dev/shm of container", name, source);
                let tree = owner::shared_memory(&mounts).map_err(failed)?;
                let target = bundle.join("shm");
                disk::make_private(&target).map_err(failed)?;
                // That of its last run.
                let _ = unmount(&target, UnmountFlags::DETACH);
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                move_mount(&tree, "", rustix::fs::CWD, &target, flags)
                    .map_err(|error| failed(error.into()))?;
                bind(&target, "/dev/shm");
            }
        }
        Ok(())
    }
}

/// The supervisor of a container that another is to share a namespace with: its user namespace is
/// that one's, too.
pub(crate) fn neighbour(place: &Place, create: &Create) -> Result<Option<Process>, Error> {
    let flags = &create.isolation;
    let owners = [flags.pid.as_ref(), flags.uts.as_ref(), flags.cgroupns.as_ref()];
    let ipc = flags.ipc.as_ref().map(Ipc::owner);
    let name = owners.into_iter().chain([ipc]).flatten().find_map(|owner| match owner {
        Owner::Container(name) => Some(name),
        _ => None,
    });
    let Some(name) = name else { return Ok(None) };
    Ok(containers::find(place, name)?.supervisor.filter(Process::is_alive))
}

/// A namespace of a container that runs, of this very one.
fn of_container(place: &Place, kind: Kind, name: &str) -> Result<File, Error> {
    let not_running = || isolation::Error::NotRunning { flag: kind.flag, name: name.to_owned() };
    let init = containers::find(place, name)?.pid.filter(Process::is_alive);
    let init = init.ok_or_else(not_running)?;
    let path = PathBuf::from(format!("/proc/{}/ns/{}", init.pid, kind.name));
    let file = owner::open(kind, &path).map_err(isolation::Error::from)?;
    // Its number may have been given to another process before the file was open.
    match init.is_alive() {
        true => Ok(file),
        false => Err(not_running().into()),
    }
}

fn refuse_private(place: &Place, record: &Record) -> Result<(), Error> {
    let create = match Definition::read(place, &record.id) {
        Ok(definition) => definition.create,
        Err(Error::NoDefinition(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    match create.isolation.ipc {
        Some(ipc @ (Ipc::None | Ipc::Of(Owner::Private))) => {
            let (name, how) = (record.name.clone(), ipc.to_string());
            Err(isolation::Error::NotShareable(name, how).into())
        }
        _ => Ok(()),
    }
}

/// What every program of the container has.
pub(crate) fn attributes(create: &Create, asked: &Asked) -> Attributes {
    Attributes {
        no_new_privileges: asked.security.no_new_privileges,
        apparmor: asked.security.profile().map(str::to_owned),
        oom_score: create.isolation.oom_score_adj,
        umask: create.program.umask.unwrap_or(umask::DEFAULT),
        limits: asked.limits.clone(),
        groups: create.program.group_add.clone(),
    }
}

/// Where the filter of a container comes from, for those who enter it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FilterOf {
    /// From the container's capabilities.
    #[default]
    Default,
    /// From a profile: it is kept beside the container's record.
    Profile,
    /// It has none.
    Nobody,
}

/// The filter of a container that is to be started.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) of: FilterOf,
    /// Where it is ours to load.
    pub(crate) program: Option<Filter>,
    /// Where the runtime makes it: that has it for those who enter the container, too.
    pub(crate) rules: Option<LinuxSeccomp>,
}

/// The filter of a container that is to be started, kept for those who enter it later.
pub(crate) fn filter(
    place: &Place,
    id: &ContainerId,
    security: &Security,
    privileged: bool,
    capabilities: &Capabilities,
    runtime: &Runtime,
) -> Result<Chosen, Error> {
    let none = Chosen { of: FilterOf::Nobody, ..Chosen::default() };
    match &security.seccomp {
        Some(Seccomp::File(path)) if runtime.does_all() => {
            Ok(Chosen { rules: Some(in_words(path, capabilities)?), ..none })
        }
        Some(Seccomp::File(path)) => {
            let filter = compiled(place, path, capabilities)?;
            let kept = kept(place, id);
            cache::write(&kept, &filter).map_err(|source| Error::file("write", kept, source))?;
            Ok(Chosen { of: FilterOf::Profile, program: Some(filter), rules: None })
        }
        Some(Seccomp::Unconfined) => Ok(none),
        None if privileged => Ok(none),
        None if runtime.does_all() => {
            let rules = rules::default_for(capabilities);
            let rules = rules.map_err(|error| Error::Spec(error.to_string()))?;
            Ok(Chosen { rules: Some(rules), ..none })
        }
        None => {
            let filter = Filter::default_for(capabilities).map_err(isolation::Error::from)?;
            Ok(Chosen { of: FilterOf::Default, program: Some(filter), rules: None })
        }
    }
}

/// The same filter, for a program that enters the container, which has `capabilities`.
pub(crate) fn filter_again(
    place: &Place,
    id: &ContainerId,
    of: FilterOf,
    capabilities: &Capabilities,
) -> Result<Option<Filter>, Error> {
    match of {
        FilterOf::Nobody => Ok(None),
        FilterOf::Default => {
            Ok(Some(Filter::default_for(capabilities).map_err(isolation::Error::from)?))
        }
        FilterOf::Profile => {
            let path = kept(place, id);
            let damaged =
                || Error::file("trust", path.clone(), std::io::ErrorKind::InvalidData.into());
            cache::read(&path).map(Some).ok_or_else(damaged)
        }
    }
}

fn kept(place: &Place, id: &ContainerId) -> PathBuf {
    place.records().directory(id).join("seccomp")
}

fn text(path: &Path) -> Result<Vec<u8>, Error> {
    disk::read(path, profile::MAX)
        .and_then(|text| text.ok_or_else(|| std::io::ErrorKind::NotFound.into()))
        .map_err(|source| Error::file("read the seccomp profile", path, source))
}

/// A profile, for a runtime that makes the filter itself.
fn in_words(path: &Path, capabilities: &Capabilities) -> Result<LinuxSeccomp, Error> {
    let (text, system) = (text(path)?, rustix::system::uname());
    let host = Host { capabilities, kernel: &system.release().to_string_lossy() };
    let rules = profile::to_rules(&text, host);
    Ok(rules.map_err(|source| isolation::Error::Profile { path: path.to_owned(), source })?)
}

/// A profile, compiled: now, or when it was first used.
fn compiled(place: &Place, path: &Path, capabilities: &Capabilities) -> Result<Filter, Error> {
    let text = text(path)?;
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy();
    let host = Host { capabilities, kernel: &kernel };
    let (directory, key) = (place.run.join("seccomp"), cache::key(&text, host));
    if let Some(filter) = cache::read(&directory.join(&key)) {
        return Ok(filter);
    }
    let filter = profile::compile(&text, host)
        .map_err(|source| isolation::Error::Profile { path: path.to_owned(), source })?;
    if let Err(source) = cache::keep(&directory, &key, &filter) {
        let error = Error::file("keep the compiled profile in", directory, source);
        eprintln!("Warning: {}, ignoring", chain(&error));
    }
    Ok(filter)
}
