//! systemd as a container's first process: what it needs there (systemd.io/CONTAINER_INTERFACE), and
//! when it is given (podman-run(1), `--systemd`). Pure.

use std::path::Path;

use oci_spec::runtime::Spec;

use crate::launch::args::Systemd;
use crate::launch::storage::flags::tmpfs;
use crate::launch::storage::volume::{InvalidVolume, Volume};
use crate::model::ContainerId;

/// Asks systemd to halt.
pub(crate) const STOP_SIGNAL: &str = "SIGRTMIN+3";

/// Commands that are systemd's, by their whole path; so is whatever is called `systemd`.
const COMMANDS: [&str; 3] = ["/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init"];

/// What systemd mounts a tmpfs on where it boots a host, and cannot in a container.
const PLACES: [&str; 4] = [
    "/run:rw,mode=755",
    "/run/lock:rw,mode=1777",
    "/tmp:rw,mode=1777",
    "/var/log/journal:rw,mode=755",
];

/// Whether the container is to have what systemd needs.
pub(crate) fn is_wanted(mode: Systemd, command: &[String]) -> bool {
    let Some(program) = command.first() else { return mode == Systemd::Always };
    let is_systemd = || {
        COMMANDS.contains(&program.as_str())
            || Path::new(program).file_name().is_some_and(|name| name == "systemd")
    };
    match mode {
        Systemd::Always => true,
        Systemd::False => false,
        Systemd::True => is_systemd(),
    }
}

/// The tmpfs that it needs, where nothing else is mounted.
pub(crate) fn places() -> Result<Vec<Volume>, InvalidVolume> {
    PLACES.iter().map(|place| tmpfs::parse(place)).collect()
}

/// The machine's ID, as systemd takes it over: 32 hexadecimal digits.
pub(crate) fn uuid(id: &ContainerId) -> &str {
    &id.as_str()[..32]
}

/// Lets the container make cgroups below its own.
pub(crate) fn open_cgroup(spec: &mut Spec) {
    let mounts = spec.mounts_mut().iter_mut().flatten();
    for mount in mounts.filter(|mount| mount.typ().as_deref() == Some("cgroup")) {
        let mut options = mount.options().clone().unwrap_or_default();
        options.retain(|option| option != "ro" && option != "rw");
        options.push("rw".to_owned());
        mount.set_options(Some(options));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(mode: Systemd, command: &[&str]) -> bool {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        is_wanted(mode, &command)
    }

    #[test]
    fn systemd_is_known_by_its_command() {
        for command in ["/sbin/init", "/usr/sbin/init", "/usr/lib/systemd/systemd", "systemd"] {
            assert!(wanted(Systemd::True, &[command, "--unit=x"]), "{command}");
            assert!(!wanted(Systemd::False, &[command]), "{command}");
        }
        for command in [&["init"][..], &["sh", "-c", "/sbin/init"], &["/bin/init"], &[]] {
            assert!(!wanted(Systemd::True, command), "{command:?}");
            assert!(wanted(Systemd::Always, command), "{command:?}");
        }
    }

    #[test]
    fn places_can_be_mounted() {
        assert_eq!(places().unwrap().len(), PLACES.len());
    }

    #[test]
    fn a_machine_id_has_32_digits() {
        let id: ContainerId = "0123456789abcdef".repeat(4).parse().unwrap();
        assert_eq!(uuid(&id), "0123456789abcdef0123456789abcdef");
    }
}
