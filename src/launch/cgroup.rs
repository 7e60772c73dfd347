//! The launcher's place in the cgroup v2 tree, and the container's.
//!
//! The launcher never writes outside its own cgroup: a container gets a child of it, or stays in it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::{ContainerId, UnitName};

/// Where cgroup v2 is mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// How the container relates to the launcher's cgroup (podman-run(1), `--cgroups`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// A cgroup of its own below the unit's; the unit needs Delegate=yes.
    Split,
    /// No cgroup of its own: the launcher's.
    Disabled,
    /// As split, but without asking for Delegate=yes: what Podman's generated units have.
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
    #[error("cannot {what} cgroup {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The cgroup v2 path in the text of `/proc/PID/cgroup` (cgroups(7)).
pub(crate) fn path_of(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::")).filter(|path| path.starts_with('/'))
}

/// The innermost service unit of a cgroup path. systemd escapes a unit's leading `_` and `.`,
/// and names that look like the kernel's own files, by a `_` in front.
pub(crate) fn unit_of(path: &str) -> Option<UnitName> {
    path.split('/').rev().find_map(|component| {
        component.strip_prefix('_').unwrap_or(component).parse::<UnitName>().ok()
    })
}

/// The directory of the innermost service unit, where processes may sit in a child of it.
fn unit_directory(path: &str) -> &str {
    let mut end = path.len();
    while let Some(slash) = path[..end].rfind('/') {
        if path[slash + 1..end].ends_with(".service") {
            return &path[..end];
        }
        end = slash;
    }
    path
}

/// This process's cgroup.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    path: String,
}

impl Own {
    /// Reads `/proc/self/cgroup`.
    pub(crate) fn find() -> Result<Self, Error> {
        let magic = rustix::fs::statfs(ROOT).map(|statfs| statfs.f_type);
        if magic != Ok(libc::CGROUP2_SUPER_MAGIC) {
            return Err(Error::NotVersion2);
        }
        let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        path_of(&text).map(|path| Self { path: path.to_owned() }).ok_or(Error::NotFound)
    }

    /// The service unit this process runs in.
    pub(crate) fn unit(&self) -> Option<UnitName> {
        unit_of(&self.path)
    }

    /// Whether systemd delegated the unit's cgroup (systemd marks it by an extended attribute).
    fn is_delegated(&self) -> bool {
        let directory = directory(unit_directory(&self.path));
        ["trusted.delegate", "user.delegate"].iter().any(|name| {
            let mut value = [0u8; 8];
            matches!(rustix::fs::getxattr(&directory, *name, &mut value), Ok(1) if value[0] == b'1')
        })
    }

    /// Makes a cgroup for the container, below the unit's. libcontainer needs one that is not
    /// ours: where a start fails, it kills whatever is in it.
    pub(crate) fn prepare(&self, mode: Option<Mode>, id: &ContainerId) -> Result<Payload, Error> {
        if mode == Some(Mode::Split) && self.path != "/" && !self.is_delegated() {
            return Err(Error::NotDelegated(unit_directory(&self.path).to_owned()));
        }
        let parent = unit_directory(&self.path).trim_end_matches('/');
        if mode == Some(Mode::Split) {
            step_aside(&directory(parent).join("supervisor"))?;
        }
        let path = format!("{parent}/payload-{}", id.short());
        let full = directory(&path);
        match std::fs::create_dir(&full) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::Io { what: "make", path: full, source: error })
            }
            _ => Ok(Payload { path, shared_with: self.path.clone(), mode }),
        }
    }
}

/// Moves this process to a cgroup beside the container's: a cgroup that has controllers for its
/// children may hold no processes itself.
fn step_aside(supervisor: &Path) -> Result<(), Error> {
    let failed = |what, source| Error::Io { what, path: supervisor.to_owned(), source };
    match std::fs::create_dir(supervisor) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("make", error));
        }
        _ => {}
    }
    std::fs::write(supervisor.join("cgroup.procs"), "0").map_err(|error| failed("move to", error))
}

fn directory(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

/// The container's cgroup.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    /// Below the cgroup root, with a leading slash.
    pub(crate) path: String,
    /// The launcher's own.
    shared_with: String,
    mode: Option<Mode>,
}

impl Payload {
    /// Where it is in the file system.
    pub(crate) fn directory(&self) -> PathBuf {
        directory(&self.path)
    }

    /// After the start: without a cgroup of its own (`disabled`), the container moves to ours.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        if self.mode != Some(Mode::Disabled) {
            return Ok(());
        }
        let (from, to) = (directory(&self.path), directory(&self.shared_with));
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
        Ok(())
    }

    /// Ends what is left in the cgroup and removes it.
    pub(crate) fn remove(&self) {
        let directory = directory(&self.path);
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut killed = false;
        while let Err(error) = std::fs::remove_dir(&directory) {
            if error.kind() == io::ErrorKind::NotFound || Instant::now() > deadline {
                return;
            }
            if !killed {
                let _ = std::fs::write(directory.join("cgroup.kill"), "1");
                killed = true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_path() {
        assert_eq!(path_of("0::/system.slice/app.service\n"), Some("/system.slice/app.service"));
        assert_eq!(path_of("12:cpu:/x\n0::/\n"), Some("/"));
        assert_eq!(path_of("1:name=systemd:/x\n"), None);
        assert_eq!(path_of(""), None);
    }

    #[test]
    fn the_innermost_service_is_the_unit() {
        for (path, unit) in [
            ("/system.slice/app.service", Some("app.service")),
            ("/system.slice/app.service/payload-0123", Some("app.service")),
            ("/system.slice/system-a.slice/a@b.service/.control", Some("a@b.service")),
            ("/user.slice/user-1.slice/user@1.service/app.slice/x.service", Some("x.service")),
            ("/system.slice/__x.service", Some("_x.service")),
            ("/user.slice/user-0.slice/session-3.scope", None),
            ("/", None),
        ] {
            assert_eq!(unit_of(path).as_ref().map(UnitName::as_str), unit, "{path}");
        }
    }

    #[test]
    fn payloads_lie_in_the_units_own_directory() {
        assert_eq!(unit_directory("/s.slice/a.service/sub/x"), "/s.slice/a.service");
        assert_eq!(unit_directory("/s.slice/a.service"), "/s.slice/a.service");
        assert_eq!(unit_directory("/user.slice/session-3.scope"), "/user.slice/session-3.scope");
        assert_eq!(unit_directory("/"), "/");
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,80}") {
            let _ = path_of(&text);
            let _ = unit_of(&text);
            let _ = unit_directory(&text);
        }
    }
}
