//! The launcher's place in the cgroup v2 tree, and the container's.
//!
//! The launcher never writes outside its own cgroup: a container gets a child of it, or stays in it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::launch::isolation::delegation::{self, NotLimited};
use crate::launch::isolation::resources::{self, Resources};
use crate::model::cgroup::{path_in, service, unit_directory};
use crate::model::{ContainerId, Scope, UnitName};
use crate::store::unpack;

/// Where cgroup v2 is mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// How long a killed cgroup may take to become empty.
const EMPTYING: Duration = Duration::from_secs(5);

/// How the container relates to the launcher's cgroup (podman-run(1), `--cgroups`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// A scope of its own in machine.slice, beside the unit's.
    Enabled,
    /// A cgroup of its own below the unit's; the unit needs Delegate=yes.
    Split,
    /// No cgroup of its own: the launcher's.
    Disabled,
    /// One of its own where the unit has Delegate=yes, else the launcher's: what Podman's generated
    /// units have.
    NoConmon,
}

/// Why a container gets no cgroup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{ROOT} is not cgroup v2, which containers need here")]
    NotVersion2,
    #[error("cannot find this process in /proc/self/cgroup")]
    NotFound,
    #[error("--cgroups=split needs Delegate=yes in the unit: {0} is not delegated to this process")]
    NotDelegated(String),
    #[error(transparent)]
    NotLimited(#[from] NotLimited),
    #[error(transparent)]
    NotApplied(#[from] resources::NotApplied),
    #[error(
        "cannot make cgroup {path}: the one this process is in is not the user's; use a unit of \
         systemd --user, or systemd-run --user --scope"
    )]
    NotOurs {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot {what} cgroup {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// This process's cgroup.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    path: String,
}

impl Location {
    /// Reads `/proc/self/cgroup`.
    pub(crate) fn find() -> Result<Self, Error> {
        let magic = rustix::fs::statfs(ROOT).map(|statfs| statfs.f_type);
        if magic != Ok(libc::CGROUP2_SUPER_MAGIC) {
            return Err(Error::NotVersion2);
        }
        let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        path_in(&text).map(|path| Self { path: path.to_owned() }).ok_or(Error::NotFound)
    }

    /// The service unit this process runs in, as the manager of `scope` knows it.
    pub(crate) fn unit(&self, scope: Scope) -> Option<UnitName> {
        service(&self.path, scope)
    }

    /// Whether the process that has this number now is in the same unit.
    pub(crate) fn shares_unit_with(&self, pid: i32) -> bool {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let unit = path_in(&text).map(unit_directory);
        unit == Some(unit_directory(&self.path))
    }

    /// Whether this process may make cgroups here, and move processes between them.
    pub(crate) fn is_ours(&self) -> bool {
        let processes = directory(unit_directory(&self.path)).join("cgroup.procs");
        rustix::fs::access(processes, rustix::fs::Access::WRITE_OK).is_ok()
    }

    /// Whether systemd delegated the unit's cgroup (systemd marks it by an extended attribute). A
    /// user's manager marks none (systemd 252); but what it makes is the user's own.
    fn is_delegated(&self) -> bool {
        if unpack::for_userxattr() {
            return self.is_ours();
        }
        let directory = directory(unit_directory(&self.path));
        ["trusted.delegate", "user.delegate"].iter().any(|name| {
            let mut value = [0u8; 8];
            matches!(rustix::fs::getxattr(&directory, *name, &mut value), Ok(1) if value[0] == b'1')
        })
    }

    /// Another place than this process's own.
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.to_owned() }
    }

    /// Moves the process that keeps a scope out of its containers' way.
    pub(super) fn keep(&self, pid: u32) -> Result<(), Error> {
        step_aside(&directory(&self.path).join("supervisor"), pid)
    }

    /// The cgroup that the container is to have, below the unit's; nothing is made yet.
    pub(crate) fn payload(&self, mode: Option<Mode>, id: &ContainerId) -> Payload {
        let parent = unit_directory(&self.path).trim_end_matches('/');
        Payload { path: format!("{parent}/{}", payload_name(id)), launcher: self.clone(), mode }
    }
}

/// Moves a process (0 is this one) to a cgroup beside the container's: a cgroup that has controllers
/// for its children may hold no processes itself.
fn step_aside(supervisor: &Path, pid: u32) -> Result<(), Error> {
    let failed = |what, source| Error::Io { what, path: supervisor.to_owned(), source };
    make_directory(supervisor)?;
    std::fs::write(supervisor.join("cgroup.procs"), pid.to_string())
        .map_err(|error| failed("move to", error))
}

/// Makes a cgroup, where it is not there.
fn make_directory(path: &Path) -> Result<(), Error> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(Error::NotOurs { path: path.to_owned(), source })
        }
        made => made.map_err(|source| Error::Io { what: "make", path: path.to_owned(), source }),
    }
}

/// Where a cgroup is in the file system.
pub(crate) fn directory(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

/// The container's cgroup.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    /// Below the cgroup root, with a leading slash.
    pub(crate) path: String,
    launcher: Location,
    mode: Option<Mode>,
}

impl Payload {
    /// The same below another parent, which is in the unit's own cgroup.
    pub(crate) fn below(mut self, parent: &str) -> Result<Self, Error> {
        match self.mode {
            Some(Mode::Disabled) => return Err(NotLimited::Disabled("cgroup-parent").into()),
            _ if self.is_shared() => return Err(NotLimited::Shared("cgroup-parent").into()),
            _ => {}
        }
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let parent = delegation::parent(unit_directory(&self.launcher.path), parent)?;
        self.path = format!("{parent}/{name}");
        Ok(self)
    }

    /// Where it is in the file system.
    pub(crate) fn directory(&self) -> PathBuf {
        directory(&self.path)
    }

    /// Whether the container has no cgroup of its own, but the launcher's.
    pub(crate) fn is_shared(&self) -> bool {
        match self.mode {
            Some(Mode::Disabled) => true,
            // What is not delegated is systemd's to arrange.
            Some(Mode::NoConmon) => !self.launcher.is_delegated(),
            Some(Mode::Enabled | Mode::Split) | None => false,
        }
    }

    /// Makes the cgroup. libcontainer needs one that is not ours: where a start fails, it kills
    /// whatever is in it.
    pub(crate) fn make(&self, resources: &Resources) -> Result<(), Error> {
        let parent = unit_directory(&self.launcher.path);
        let delegated = self.launcher.path == "/" || self.launcher.is_delegated();
        self.refuse_limits(parent, delegated, resources)?;
        let controllers = resources.controllers();
        if self.mode == Some(Mode::Split) || !controllers.is_empty() {
            if !delegated {
                return Err(Error::NotDelegated(parent.to_owned()));
            }
            // In a scope of its own, nobody is in the way.
            if self.mode != Some(Mode::Enabled) {
                step_aside(&directory(parent).join("supervisor"), 0)?;
            }
        }
        // From the unit's own down to the container's: each lets the next have its controllers.
        let below = self.path.strip_prefix(parent).unwrap_or_default();
        let mut reached = parent.to_owned();
        for name in below.split('/').filter(|name| !name.is_empty()) {
            delegation::enable(&directory(&reached), &reached, &controllers)?;
            reached = format!("{reached}/{name}");
            make_directory(&directory(&reached))?;
        }
        Ok(resources::apply(&directory(&self.path), resources)?)
    }

    fn refuse_limits(
        &self,
        unit: &str,
        delegated: bool,
        resources: &Resources,
    ) -> Result<(), NotLimited> {
        match (resources.first(), resources.controllers().first()) {
            (Some(flag), _) if self.mode == Some(Mode::Disabled) => Err(NotLimited::Disabled(flag)),
            (_, Some((controller, flag))) if !delegated => {
                let (controller, unit) = ((*controller).to_owned(), unit.to_owned());
                Err(NotLimited::NotDelegated { flag, controller, unit })
            }
            (Some(flag), _) if self.is_shared() => Err(NotLimited::Shared(flag)),
            _ => Ok(()),
        }
    }

    /// After the start: without a cgroup of its own (`disabled`), the container moves to ours,
    /// whose path it is then.
    pub(crate) fn settle(&self) -> Result<Option<&str>, Error> {
        if !self.is_shared() {
            return Ok(None);
        }
        let (from, to) = (directory(&self.path), directory(&self.launcher.path));
        let failed = |what, path: &Path, source| Error::Io { what, path: path.to_owned(), source };
        // What forks while it is moved is found in the next round.
        for _ in 0..100 {
            let processes = std::fs::read_to_string(from.join("cgroup.procs"))
                .map_err(|source| failed("read", &from, source))?;
            for pid in processes.lines() {
                match std::fs::write(to.join("cgroup.procs"), pid) {
                    Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                        return Err(failed("move processes to", &to, error));
                    }
                    _ => {}
                }
            }
            if std::fs::remove_dir(&from).is_ok() {
                break;
            }
        }
        Ok(Some(&self.launcher.path))
    }

    /// Ends what is left in the cgroup and removes it.
    pub(crate) fn remove(&self) {
        clear(&self.path);
    }
}

/// Whether all in a cgroup that a record names is frozen, or is to be.
pub(crate) fn is_frozen(path: &str) -> bool {
    let state = std::fs::read_to_string(directory(path).join("cgroup.freeze"));
    state.is_ok_and(|state| state.trim() == "1")
}

/// Freezes a cgroup that a record names, or lets it go on; waits a moment until it has come about.
pub(crate) fn freeze(path: &str, frozen: bool) -> Result<(), Error> {
    let directory = directory(path);
    let value = if frozen { "1" } else { "0" };
    std::fs::write(directory.join("cgroup.freeze"), value).map_err(|source| Error::Io {
        what: "freeze",
        path: directory.clone(),
        source,
    })?;
    let deadline = Instant::now() + EMPTYING;
    let wanted = format!("frozen {value}");
    let is_so = || {
        std::fs::read_to_string(directory.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == wanted))
    };
    while !is_so() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn payload_name(id: &ContainerId) -> String {
    format!("payload-{}", id.short())
}

/// Ends what is left in the cgroup that a record names for its container, and removes it.
pub(crate) fn clear_recorded(path: &str, id: &ContainerId) {
    // Nothing but a container's own cgroup is ever killed.
    if path.rsplit('/').next() == Some(&payload_name(id)) {
        clear(path);
    }
}

/// Kills all that is in the cgroup that a record names for its container; it stays.
pub(crate) fn kill_recorded(path: &str, id: &ContainerId) {
    if path.rsplit('/').next() == Some(&payload_name(id)) {
        // One that is gone has nobody in it.
        let _ = std::fs::write(directory(path).join("cgroup.kill"), "1");
    }
}

/// Kills all in a cgroup, waits until it is empty, and removes it. What the kernel does not let go
/// in time is left to the next look for leftovers.
fn clear(path: &str) {
    let directory = directory(path);
    let deadline = Instant::now() + EMPTYING;
    while let Err(error) = remove_tree(&directory) {
        if error.kind() == io::ErrorKind::NotFound || Instant::now() > deadline {
            return;
        }
        // Again each time: a process that was being moved in may have come too late for the last.
        let _ = std::fs::write(directory.join("cgroup.kill"), "1");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Removes a cgroup and those that the container made below it.
fn remove_tree(directory: &Path) -> io::Result<()> {
    let Err(error) = std::fs::remove_dir(directory) else { return Ok(()) };
    if error.kind() == io::ErrorKind::NotFound {
        return Err(error);
    }
    for entry in std::fs::read_dir(directory)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_cgroup_lies_in_its_units_own_directory() {
        let id: ContainerId = "0123456789abcdef".repeat(4).parse().unwrap();
        for (path, expected) in [
            ("/s.slice/a.service/sub", "/s.slice/a.service/payload-0123456789ab"),
            (
                "/u.slice/user@1.service/b.scope",
                "/u.slice/user@1.service/b.scope/payload-0123456789ab",
            ),
            ("/", "/payload-0123456789ab"),
        ] {
            let location = Location { path: path.to_owned() };
            assert_eq!(location.payload(None, &id).path, expected);
        }
    }
}
