//! What a container sees of the kernel, and may change there. Pure.

use std::path::Path;

use oci_spec::OciSpecError;
use oci_spec::runtime::{Linux, LinuxDevice, Mount};

use crate::launch::isolation::paths::Paths;
use crate::launch::isolation::sysctl::Parameters;

/// What a container sees of the kernel.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) paths: Paths,
    pub(crate) parameters: Parameters,
    /// Whether `/proc` is the host's: whoever does not own the processes cannot mount another.
    pub(crate) host_proc: bool,
    /// Mount options of `/proc`, besides the usual ones.
    pub(crate) proc_options: Vec<String>,
    /// Whether `/sys` and the cgroups can be written.
    pub(crate) writable: bool,
    /// Whether there is no `/dev/shm`, where nothing else is mounted there.
    pub(crate) no_shared_memory: bool,
    /// Devices besides the usual ones.
    pub(crate) devices: Vec<LinuxDevice>,
}

impl View {
    /// Changes the kernel's file systems among the mounts; what else is mounted stays.
    pub(crate) fn adjust(&self, mut mounts: Vec<Mount>) -> Vec<Mount> {
        let is = |mount: &Mount, target: &str, typ: &str| {
            mount.destination() == Path::new(target) && mount.typ().as_deref() == Some(typ)
        };
        if self.no_shared_memory {
            mounts.retain(|mount| !is(mount, "/dev/shm", "tmpfs") || !is_own(mount));
        }
        for mount in &mut mounts {
            let mut options = mount.options().clone().unwrap_or_default();
            if is(mount, "/proc", "proc") && self.host_proc {
                mount.set_typ(Some("bind".to_owned())).set_source(Some("/proc".into()));
                options.extend(["rbind", "rprivate"].map(str::to_owned));
            } else if is(mount, "/proc", "proc") {
                options.extend(self.proc_options.iter().cloned());
            } else if self.writable
                && (is(mount, "/sys", "sysfs") || is(mount, "/sys/fs/cgroup", "cgroup"))
            {
                options.retain(|option| option != "ro");
            } else {
                continue;
            }
            mount.set_options(Some(options));
        }
        mounts
    }

    /// The rest, in the runtime's own words.
    pub(crate) fn apply(self, linux: &mut Linux) -> Result<(), OciSpecError> {
        linux.set_masked_paths(Some(self.paths.masked));
        linux.set_readonly_paths(Some(self.paths.read_only));
        if !self.parameters.is_empty() {
            linux.set_sysctl(Some(self.parameters.into_iter().collect()));
        }
        if !self.devices.is_empty() {
            let mut devices = linux.devices().clone().unwrap_or_default();
            // What was given by name is as it was asked for.
            let added = self.devices.into_iter();
            let known = |one: &LinuxDevice| devices.iter().any(|have| have.path() == one.path());
            let added: Vec<_> = added.filter(|one| !known(one)).collect();
            devices.extend(added);
            linux.set_devices(Some(devices));
        }
        Ok(())
    }
}

/// Of a tmpfs at `/dev/shm`, whether it is the one that nobody asked for.
fn is_own(mount: &Mount) -> bool {
    mount.source().as_deref() == Some(Path::new("shm"))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::MountBuilder;

    use super::*;

    fn mount(target: &str, typ: &str, source: &str) -> Mount {
        let options = ["nosuid", "ro"].map(str::to_owned).to_vec();
        let builder = MountBuilder::default().destination(target).typ(typ).source(source);
        builder.options(options).build().unwrap()
    }

    fn mounts() -> Vec<Mount> {
        vec![
            mount("/proc", "proc", "proc"),
            mount("/dev/shm", "tmpfs", "shm"),
            mount("/sys", "sysfs", "sysfs"),
            mount("/sys/fs/cgroup", "cgroup", "cgroup"),
            mount("/data", "bind", "/srv"),
        ]
    }

    fn read_only(mounts: &[Mount]) -> Vec<&str> {
        let is_so = |mount: &&Mount| mount.options().iter().flatten().any(|one| one == "ro");
        mounts.iter().filter(is_so).map(|mount| mount.destination().to_str().unwrap()).collect()
    }

    #[test]
    fn only_what_was_asked_for_changes() {
        assert_eq!(View::default().adjust(mounts()), mounts());
        let writable = View { writable: true, ..View::default() }.adjust(mounts());
        assert_eq!(read_only(&writable), ["/proc", "/dev/shm", "/data"]);
        let hidden = View { proc_options: vec!["hidepid=2".into()], ..View::default() };
        let hidden = hidden.adjust(mounts());
        assert_eq!(hidden[0].options().as_ref().unwrap().last().unwrap(), "hidepid=2");
    }

    #[test]
    fn the_hosts_proc_is_bound() {
        let view = View { host_proc: true, ..View::default() };
        let proc = &view.adjust(mounts())[0];
        assert_eq!(
            (proc.typ().as_deref(), proc.source().as_deref()),
            (Some("bind"), Some("/proc".as_ref()))
        );
        assert!(proc.options().as_ref().unwrap().contains(&"rbind".to_owned()));
    }

    #[test]
    fn shared_memory_of_the_operators_stays() {
        let view = View { no_shared_memory: true, ..View::default() };
        assert_eq!(view.adjust(mounts()).len(), mounts().len() - 1);
        let own = [mount("/dev/shm", "tmpfs", "tmpfs"), mount("/dev/shm", "bind", "/srv")];
        assert_eq!(view.adjust(own.to_vec()), own);
    }
}
