//! `--cgroups=enabled`: a scope of the container's own, beside its unit's cgroup. The service manager
//! makes it for a process that keeps it, by systemd-run(1): this program speaks no D-Bus.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::launch::isolation::cgroup::{self, Location};
use crate::model::ContainerId;
use crate::model::cgroup::path_in;

/// Where Podman puts its scopes.
const SLICE: &str = "machine.slice";

/// Why there is no scope.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--cgroups=enabled needs systemd-run, which makes the scope")]
    NotRun(#[source] io::Error),
    #[error("--cgroups=enabled: systemd-run made no scope (it has said why)")]
    NotMade,
    #[error(
        "--cgroups=enabled is there for root only: leave it out, the container has a cgroup of its own below its unit's"
    )]
    OfUser,
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
}

/// A scope that is there as long as this is, or as long as a container runs in it.
#[derive(Debug)]
pub(crate) struct Kept {
    keeper: Child,
    /// It ends when nobody holds this any more, a supervisor that was killed neither.
    stdin: Option<ChildStdin>,
    pub(crate) location: Location,
}

/// Makes the scope of a container.
pub(crate) fn open(id: &ContainerId) -> Result<Kept, Error> {
    let mut keeper = Command::new("systemd-run")
        .args(["--quiet", "--scope", "--collect", "--property=Delegate=yes"])
        .arg(format!("--slice={SLICE}"))
        .arg(format!("--unit=updaterd-{id}.scope"))
        .arg(format!("--description=Container {}", id.short()))
        .args(["--", "sh", "-c", "cat /proc/self/cgroup; echo; exec cat 2> /dev/null"])
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::NotRun)?;
    let stdin = keeper.stdin.take();
    let mut text = String::new();
    if let Some(stdout) = keeper.stdout.take() {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        for line in lines.take_while(|line| !line.is_empty()) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    let location = path_in(&text).map(Location::at);
    let Some(location) = location.filter(|_| text.contains(id.as_str())) else {
        let _ = keeper.wait();
        return Err(Error::NotMade);
    };
    let kept = Kept { keeper, stdin, location };
    kept.location.keep(kept.keeper.id())?;
    Ok(kept)
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.keeper.wait();
    }
}
