//! All mounts of a container in one list, in the order in which they are made. Pure.

use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{Mount, MountBuilder};

use crate::launch::storage::volume::Volume;

/// What is mounted where nobody asked for anything else.
const SAFE: [&str; 3] = ["nosuid", "noexec", "nodev"];

/// A file or directory of ours that is bound into the container.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
}

/// The kernel's file systems, the operator's volumes, our files. The fewer components a target has,
/// the earlier it is mounted, so that none hides another (Podman's order); of one target, the
/// operator's mount replaces ours.
pub(crate) fn list(
    read_only: bool,
    volumes: &[Volume],
    files: &[Bound],
) -> Result<Vec<Mount>, OciSpecError> {
    let mut mounts = kernels()?;
    // Behind the volumes: one may reach the place by another name (`/var/run` for `/run`).
    let mut own = Vec::new();
    for file in files {
        let mut options = vec!["bind", "rprivate", "nosuid", "nodev"];
        if read_only {
            options.push("ro");
        }
        own.push(mount(file.target, "bind", &file.source, &options)?);
    }
    let is_free =
        |mount: &Mount| volumes.iter().all(|volume| volume.target != *mount.destination());
    mounts.retain(is_free);
    own.retain(is_free);
    for volume in volumes {
        mounts.push(volume_mount(volume)?);
    }
    mounts.append(&mut own);
    mounts.sort_by_key(|mount| mount.destination().components().count());
    Ok(mounts)
}

fn kernels() -> Result<Vec<Mount>, OciSpecError> {
    let with = |more: &[&'static str]| [&SAFE[..], more].concat();
    Ok(vec![
        mount("/proc", "proc", "proc", &SAFE)?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        mount("/dev/shm", "tmpfs", "shm", &with(&["mode=1777", "size=64000k"]))?,
        mount("/dev/mqueue", "mqueue", "mqueue", &SAFE)?,
        mount("/sys", "sysfs", "sysfs", &with(&["ro"]))?,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &with(&["relatime", "ro"]))?,
    ])
}

fn volume_mount(volume: &Volume) -> Result<Mount, OciSpecError> {
    let options: Vec<&str> = volume.options.iter().map(String::as_str).collect();
    match &volume.source {
        Some(source) => mount(&volume.target, "bind", source, &options),
        None => mount(&volume.target, "tmpfs", "tmpfs", &options),
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
    use crate::launch::storage::volume::{parse_bind, parse_tmpfs};

    fn targets(read_only: bool, volumes: &[Volume], file: &'static str) -> Vec<String> {
        let file = Bound { source: "/bundle/file".into(), target: file };
        let mounts = list(read_only, volumes, &[file]).unwrap();
        mounts.iter().map(|mount| mount.destination().display().to_string()).collect()
    }

    #[test]
    fn nothing_is_hidden() {
        let volumes = [
            parse_bind("/srv:/data/x/y", false).unwrap(),
            parse_tmpfs("/data").unwrap(),
            parse_tmpfs("/var/run").unwrap(),
            parse_bind("/srv:/data/x", false).unwrap(),
            parse_tmpfs("/run").unwrap(),
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
            ["/dev/shm:size=1g", "/tmp", "/etc/hosts"].map(|text| parse_tmpfs(text).unwrap());
        let mounts = list(true, &volumes, &[]).unwrap();
        for target in ["/dev/shm", "/tmp"] {
            let at = |mount: &&Mount| mount.destination() == Path::new(target);
            assert_eq!(mounts.iter().filter(at).count(), 1, "{target}");
        }
        let order = targets(true, &volumes, "/etc/hosts");
        assert_eq!(order.iter().filter(|target| *target == "/etc/hosts").count(), 1);
    }

    #[test]
    fn our_files_are_as_read_only_as_the_root() {
        let file = [Bound { source: "/bundle/hosts".into(), target: "/etc/hosts" }];
        let read_only = |root| {
            let mounts = list(root, &[], &file).unwrap();
            let hosts = mounts.iter().find(|mount| mount.destination() == Path::new("/etc/hosts"));
            hosts.unwrap().options().as_ref().unwrap().contains(&"ro".to_owned())
        };
        assert!(read_only(true) && !read_only(false));
    }
}
