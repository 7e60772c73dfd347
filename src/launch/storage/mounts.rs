//! All mounts of a container in one list, in the order in which they are made. Pure, but for
//! [`is_read_only`].

use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{Mount, MountBuilder};
use rustix::fs::StatVfsMountFlags;

use crate::launch::storage::volume::{Source, Volume};

/// What is mounted where nobody asked for anything else.
const SAFE: [&str; 3] = ["nosuid", "noexec", "nodev"];

/// As Podman's.
pub(crate) const DEFAULT_SHM: u64 = 64_000 << 10;

/// A file or directory of ours that is bound into the container.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
}

/// What is said of the container's own file systems.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own {
    pub(crate) read_only: bool,
    /// Of `/dev/shm`, in bytes; 0 is no limit.
    pub(crate) shm_size: Option<u64>,
    /// Whether nothing of them can be written to, memory neither.
    pub(crate) frozen: bool,
}

/// What a user namespace leaves of the kernel's file systems.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kernel {
    /// /sys is the host's, bound read-only: a new one belongs to whom the network belongs to, and
    /// shows no more than the one that is there.
    pub(crate) host_sysfs: bool,
    /// There is no group tty, which owns terminals: the user's own group does.
    pub(crate) no_tty_group: bool,
}

/// Whether a file system of the host is mounted read-only.
pub(crate) fn is_read_only(path: &str) -> bool {
    let flags = rustix::fs::statvfs(path).map(|system| system.f_flag);
    flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::RDONLY))
}

/// The kernel's file systems, the operator's volumes, our files. The fewer components a target has,
/// the earlier it is mounted, so that none hides another (Podman's order); of one target, the
/// operator's mount replaces ours.
pub(crate) fn list(
    own: Own,
    kernel: Kernel,
    volumes: &[Volume],
    files: &[Bound],
) -> Result<Vec<Mount>, OciSpecError> {
    let mut mounts = kernels(own, kernel)?;
    // Behind the volumes: one may reach the place by another name (`/var/run` for `/run`).
    let mut ours = Vec::new();
    for file in files {
        let mut options = vec!["bind", "nosuid", "nodev"];
        if own.read_only {
            options.push("ro");
        }
        ours.push(mount(&file.target, "bind", &file.source, &options)?);
    }
    let is_free =
        |mount: &Mount| volumes.iter().all(|volume| volume.target != *mount.destination());
    mounts.retain(is_free);
    ours.retain(is_free);
    for volume in volumes {
        mounts.push(volume_mount(volume)?);
    }
    mounts.append(&mut ours);
    mounts.sort_by_key(|mount| mount.destination().components().count());
    Ok(mounts)
}

fn kernels(own: Own, kernel: Kernel) -> Result<Vec<Mount>, OciSpecError> {
    let size = format!("size={}", own.shm_size.unwrap_or(DEFAULT_SHM));
    let mut shm = [&SAFE[..], &["mode=1777", &size]].concat();
    if own.frozen {
        shm.push("ro");
    }
    let with = |more: &[&'static str]| [&SAFE[..], more].concat();
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if !kernel.no_tty_group {
        terminals.push("gid=5");
    }
    let sysfs = match kernel.host_sysfs {
        // What is mounted below comes along, as it must, and is no more writable than the rest.
        true => mount("/sys", "bind", "/sys", &with(&["rbind", "rprivate", "rro"]))?,
        false => mount("/sys", "sysfs", "sysfs", &with(&["ro"]))?,
    };
    Ok(vec![
        mount("/proc", "proc", "proc", &SAFE)?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount("/dev/pts", "devpts", "devpts", &terminals)?,
        mount("/dev/shm", "tmpfs", "shm", &shm)?,
        mount("/dev/mqueue", "mqueue", "mqueue", &SAFE)?,
        sysfs,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &with(&["relatime", "ro"]))?,
    ])
}

/// Of what was asked for, only binds and empty tmpfs are left.
fn volume_mount(volume: &Volume) -> Result<Mount, OciSpecError> {
    let mut words: Vec<&str> = volume.options.words.iter().map(String::as_str).collect();
    match &volume.source {
        Source::Tmpfs { data, .. } => {
            words.extend(data.iter().map(String::as_str));
            mount(&volume.target, "tmpfs", "tmpfs", &words)
        }
        Source::Bind { path } => {
            if !volume.options.has("bind") && !volume.options.is_recursive() {
                words.push("bind");
            }
            mount(&volume.target, "bind", path, &words)
        }
        Source::Volume { .. } | Source::Image { .. } => Err(OciSpecError::Other(format!(
            "the volume at {} was not made ready",
            volume.target.display()
        ))),
    }
}

fn mount(
    target: impl AsRef<Path>,
    typ: &str,
    source: impl AsRef<Path>,
    options: &[&str],
) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(target.as_ref())
        .typ(typ)
        .source(source.as_ref())
        .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::storage::flags::{tmpfs, volume};

    fn own(read_only: bool) -> Own {
        Own { read_only, ..Own::default() }
    }

    fn targets(read_only: bool, volumes: &[Volume], file: &str) -> Vec<String> {
        let file = Bound { source: "/bundle/file".into(), target: file.into() };
        let mounts = list(own(read_only), Kernel::default(), volumes, &[file]).unwrap();
        mounts.iter().map(|mount| mount.destination().display().to_string()).collect()
    }

    #[test]
    fn nothing_is_hidden() {
        let volumes = [
            volume::parse("/srv:/data/x/y").unwrap(),
            tmpfs::parse("/data").unwrap(),
            tmpfs::parse("/var/run").unwrap(),
            volume::parse("/srv:/data/x").unwrap(),
            tmpfs::parse("/run").unwrap(),
        ];
        let order = targets(false, &volumes, "/run/notify");
        let at = |target: &str| order.iter().position(|have| have == target).unwrap();
        assert!(at("/data") < at("/data/x") && at("/data/x") < at("/data/x/y"), "{order:?}");
        assert!(at("/run") < at("/run/notify") && at("/var/run") < at("/run/notify"), "{order:?}");
        assert!(at("/dev") < at("/dev/pts") && at("/sys") < at("/sys/fs/cgroup"), "{order:?}");
    }

    #[test]
    fn what_was_asked_for_replaces_what_was_not() {
        let volumes =
            ["/dev/shm:size=1g", "/tmp", "/etc/hosts"].map(|text| tmpfs::parse(text).unwrap());
        let mounts = list(own(true), Kernel::default(), &volumes, &[]).unwrap();
        for target in ["/dev/shm", "/tmp"] {
            let at = |mount: &&Mount| mount.destination() == Path::new(target);
            assert_eq!(mounts.iter().filter(at).count(), 1, "{target}");
        }
        let order = targets(true, &volumes, "/etc/hosts");
        assert_eq!(order.iter().filter(|target| *target == "/etc/hosts").count(), 1);
    }

    #[test]
    fn a_user_namespace_has_the_hosts_sysfs_read_only() {
        let kernel = Kernel { host_sysfs: true, no_tty_group: true };
        let mounts = list(own(false), kernel, &[], &[]).unwrap();
        let options = |target: &str| {
            let at = |mount: &&Mount| mount.destination() == Path::new(target);
            mounts.iter().find(at).unwrap().options().clone().unwrap()
        };
        let sysfs = options("/sys");
        assert!(["rbind", "rro", "nosuid"].iter().all(|word| sysfs.contains(&(*word).to_owned())));
        assert!(!options("/dev/pts").contains(&"gid=5".to_owned()));
    }

    #[test]
    fn our_files_are_as_read_only_as_the_root() {
        let file = [Bound { source: "/bundle/hosts".into(), target: "/etc/hosts".into() }];
        let read_only = |root| {
            let mounts = list(own(root), Kernel::default(), &[], &file).unwrap();
            let hosts = mounts.iter().find(|mount| mount.destination() == Path::new("/etc/hosts"));
            hosts.unwrap().options().as_ref().unwrap().contains(&"ro".to_owned())
        };
        assert!(read_only(true) && !read_only(false));
    }

    #[test]
    fn memory_is_as_large_and_as_read_only_as_was_said() {
        let shm = |own| {
            let mounts = list(own, Kernel::default(), &[], &[]).unwrap();
            let shm = mounts.iter().find(|mount| mount.destination() == Path::new("/dev/shm"));
            shm.unwrap().options().clone().unwrap().join(",")
        };
        assert_eq!(shm(own(true)), "nosuid,noexec,nodev,mode=1777,size=65536000");
        let small = Own { shm_size: Some(4096), frozen: true, ..Own::default() };
        assert_eq!(shm(small), "nosuid,noexec,nodev,mode=1777,size=4096,ro");
    }
}
