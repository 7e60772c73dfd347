//! A specification, as an installed runtime has to be told it: what libcontainer learns otherwise is
//! put into words. Pure.

use std::path::Path;

use oci_spec::OciSpecError;
use oci_spec::runtime::{BoxBuilder, Mount, Process, Spec};
use rustix::fs::StatVfsMountFlags;

use crate::launch::runtime::Prepared;
use crate::launch::storage::secrets::Variables;
use crate::launch::terminal::Size;

/// What crun does not change then (crun(1), "annotations").
const KEEP_GROUPS: (&str, &str) = ("run.oci.keep_original_groups", "1");

/// What a program has of the process that starts it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    /// This process, whose descriptors namespaces are named by.
    pub(super) pid: u32,
    /// How many sockets are handed on (sd_listen_fds(3)).
    pub(super) sockets: i32,
    pub(super) size: Option<Size>,
}

/// The whole specification of a container, whose namespaces and cgroup are ready.
pub(super) fn container(
    spec: &mut Spec,
    prepared: &Prepared,
    caller: Caller,
) -> Result<(), OciSpecError> {
    if let Some(linux) = spec.linux_mut() {
        // It is started in its cgroup, and has its limits and devices from us.
        linux.set_cgroups_path(None).set_resources(None);
        for namespace in linux.namespaces_mut().iter_mut().flatten() {
            let path = namespace.path().as_deref().map(|path| seen_from_outside(path, caller.pid));
            namespace.set_path(path);
        }
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if prepared.frozen && mount.destination() == Path::new("/dev") {
            make_read_only(mount);
        }
    }
    if prepared.keep_groups {
        let mut annotations = spec.annotations().clone().unwrap_or_default();
        annotations.insert(KEEP_GROUPS.0.to_owned(), KEEP_GROUPS.1.to_owned());
        spec.set_annotations(Some(annotations));
    }
    match spec.process_mut() {
        Some(process) => {
            listen(process, caller.sockets);
            program(process, &prepared.variables, caller.size)
        }
        None => Ok(()),
    }
}

/// The specification of one program.
pub(super) fn program(
    process: &mut Process,
    variables: &Variables,
    size: Option<Size>,
) -> Result<(), OciSpecError> {
    for (name, value) in variables.clone() {
        set(process, &name, &value);
    }
    if let Some(size) = size.filter(|_| process.terminal().unwrap_or_default()) {
        let size = BoxBuilder::default().height(size.rows).width(size.columns).build()?;
        process.set_console_size(Some(size));
    }
    Ok(())
}

fn listen(process: &mut Process, sockets: i32) {
    if sockets > 0 {
        set(process, "LISTEN_FDS", &sockets.to_string());
        set(process, "LISTEN_PID", "1");
    }
}

/// What cannot be a variable is none, as in the other runtime.
fn set(process: &mut Process, name: &str, value: &str) {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return;
    }
    let mut environment = process.env().clone().unwrap_or_default();
    environment.retain(|have| have.split_once('=').map_or(have.as_str(), |(have, _)| have) != name);
    environment.push(format!("{name}={value}"));
    process.set_env(Some(environment));
}

/// What is bound keeps what its own mount forbids, which crun takes away, and nothing that is mounted
/// later is seen on both sides, unless that was asked for: it is made so afterwards.
pub(super) fn bind(mount: &mut Mount, own: Option<StatVfsMountFlags>) {
    let mut options = mount.options().clone().unwrap_or_default();
    let has = |words: &[&str]| options.iter().any(|option| words.contains(&option.as_str()));
    let own = own.unwrap_or(StatVfsMountFlags::empty());
    let mut added = Vec::new();
    for (flag, word, others) in [
        (StatVfsMountFlags::NOSUID, "nosuid", ["rnosuid", "suid", "rsuid"]),
        (StatVfsMountFlags::NODEV, "nodev", ["rnodev", "dev", "rdev"]),
        (StatVfsMountFlags::NOEXEC, "noexec", ["rnoexec", "exec", "rexec"]),
        (StatVfsMountFlags::RDONLY, "ro", ["rro", "rrw", "rrw"]),
    ] {
        if own.contains(flag) && !has(&[word]) && !has(&others) {
            added.push(word);
        }
    }
    const PROPAGATION: [&str; 8] = [
        "private",
        "rprivate",
        "slave",
        "rslave",
        "shared",
        "rshared",
        "unbindable",
        "runbindable",
    ];
    if !has(&PROPAGATION) {
        added.push("rprivate");
    }
    options.retain(|option| option != "rw" || !added.contains(&"ro"));
    options.extend(added.into_iter().map(str::to_owned));
    mount.set_options(Some(options));
}

/// A file has nothing mounted below it: what is said of that is left out, which some versions of
/// crun look for in vain.
pub(super) fn leave_recursion(mount: &mut Mount) {
    const PLAIN: [(&str, &str); 10] = [
        ("rbind", "bind"),
        ("rprivate", "private"),
        ("rslave", "slave"),
        ("rshared", "shared"),
        ("rro", "ro"),
        ("rrw", "rw"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rsuid", "suid"),
    ];
    let options = mount.options().iter().flatten().map(|option| {
        let plain = PLAIN.iter().find(|(word, _)| word == option);
        plain.map_or_else(|| option.clone(), |(_, plain)| (*plain).to_owned())
    });
    let options = options.collect::<Vec<_>>();
    mount.set_options(Some(options));
}

/// A runtime mounts, makes what has to be there, and makes the mount read-only then.
fn make_read_only(mount: &mut Mount) {
    let mut options = mount.options().clone().unwrap_or_default();
    options.retain(|option| option != "rw");
    options.push("ro".to_owned());
    mount.set_options(Some(options));
}

fn seen_from_outside(path: &Path, pid: u32) -> std::path::PathBuf {
    match path.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc").join(pid.to_string()).join(rest),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_of_this_process() {
        let seen = |path: &str| seen_from_outside(Path::new(path), 42);
        assert_eq!(seen("/proc/self/fd/7"), Path::new("/proc/42/fd/7"));
        assert_eq!(seen("/proc/1/ns/net"), Path::new("/proc/1/ns/net"));
        assert_eq!(seen("/run/netns/a"), Path::new("/run/netns/a"));
    }

    #[test]
    fn what_a_mount_forbids_stays_forbidden() {
        let bound = |options: &[&str], own| {
            let mut mount = Mount::default();
            mount.set_options(Some(options.iter().map(|word| (*word).to_owned()).collect()));
            bind(&mut mount, Some(own));
            mount.options().clone().unwrap().join(",")
        };
        let own = StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY;
        assert_eq!(bound(&["rbind", "rw"], own), "rbind,noexec,ro,rprivate");
        assert_eq!(bound(&["rbind", "exec", "rslave"], own), "rbind,exec,rslave,ro");
        let nothing = StatVfsMountFlags::empty();
        assert_eq!(bound(&["bind", "rw"], nothing), "bind,rw,rprivate");
        let mut file = Mount::default();
        file.set_options(Some(vec!["rbind".to_owned(), "rprivate".to_owned(), "rro".to_owned()]));
        leave_recursion(&mut file);
        assert_eq!(file.options().clone().unwrap(), ["bind", "private", "ro"]);
    }

    #[test]
    fn variables_replace_those_of_their_name() {
        let mut process = Process::default();
        process.set_env(Some(vec!["A=1".to_owned(), "AB=2".to_owned()]));
        for (name, value) in [("A", "3"), ("B=", "x"), ("", "x"), ("C", "\0")] {
            set(&mut process, name, value);
        }
        listen(&mut process, 0);
        assert_eq!(process.env().as_deref().unwrap(), ["AB=2", "A=3"]);
        listen(&mut process, 2);
        assert_eq!(process.env().as_ref().unwrap()[2..], ["LISTEN_FDS=2", "LISTEN_PID=1"]);
    }
}
