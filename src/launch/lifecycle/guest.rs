//! Whether a container in the background is what its unit runs, or a guest there.
//!
//! A unit whose command is a launcher, or a script that ends when its containers run, is there for
//! its containers. A service whose own process goes on, such as one that carries out other people's
//! jobs, is not: a container that a job leaves behind in it is none of the service's, and restarting
//! the service for it would end everything else.

use crate::launch::isolation::cgroup::Location;
use crate::model::Scope;
use crate::store::containers::Process;

/// Names the unit that a container is to belong to (podman-auto-update(1)): its author says so.
const CLAIM: &str = "PODMAN_SYSTEMD_UNIT";
/// The process that systemd began the unit's command with (systemd.exec(5)).
const COMMAND: &str = "SYSTEMD_EXEC_PID";

/// The process of the unit's own that has this one leave a container behind. `None` where this
/// process is it, or the unit is said to be the container's.
pub(crate) fn host(location: &Location, scope: Scope) -> Option<Process> {
    let unit = location.unit(scope)?;
    if std::env::var(CLAIM).is_ok_and(|claimed| claimed == unit.as_str()) {
        return None;
    }
    let own = rustix::process::getpid().as_raw_pid();
    let named = std::env::var(COMMAND).ok().and_then(|pid| pid.parse().ok());
    let named = named.filter(|pid| *pid == own || location.shares_unit_with(*pid));
    let first = named.unwrap_or_else(|| first_of_unit(location, own));
    if first == own { None } else { Process::of(first).ok() }
}

/// The first ancestor of `pid` that is in the same unit.
fn first_of_unit(location: &Location, pid: i32) -> i32 {
    let mut first = pid;
    while let Ok(parent) = Process::parent_of(first)
        && location.shares_unit_with(parent)
    {
        first = parent;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_one_unit_with_its_parents() {
        let Ok(location) = Location::find() else { return };
        let own = rustix::process::getpid().as_raw_pid();
        assert!(location.shares_unit_with(own));
        assert!(!location.shares_unit_with(0));
        let parent = Process::parent_of(own).unwrap();
        assert_eq!(parent, rustix::process::getppid().map_or(0, |parent| parent.as_raw_pid()));
        // The walk ends.
        first_of_unit(&location, own);
    }
}
