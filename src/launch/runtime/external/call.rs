//! One call of an installed runtime, as both kinds are called; what differs is said to each.
//!
//! Cgroups are not the runtime's business: it is called in the container's own, and what it starts
//! stays there. Both would enable controllers in every cgroup from the root down otherwise, and runc
//! would replace our filter of devices by its own.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use oci_spec::runtime::Spec;
use rustix::fs::{Gid, Uid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use serde_json::Value;

use crate::disk;
use crate::launch::Error as LaunchError;
use crate::launch::runtime::Container;
use crate::launch::runtime::external::desk::Desk;
use crate::launch::runtime::external::{Error, External, Kind};
use crate::launch::storage::secrets::Variables;
use crate::launch::storage::tree;

/// For a runtime that is a script, or calls other programs. Nothing else of our environment is
/// its: LISTEN_FDS and NOTIFY_SOCKET it would take for its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CGROUPS: &str = "/sys/fs/cgroup";

impl Kind {
    /// The flags that keep it from cgroups.
    fn without_cgroups(self) -> &'static str {
        match self {
            Self::Crun => "--cgroup-manager=disabled",
            // It goes on without them where it cannot write there, and may do without.
            Self::Runc => "--rootless=true",
        }
    }
}

/// A call of a runtime: its words, without those of the verb.
pub(super) fn call(
    runtime: &External,
    container: Container<'_>,
    desk: &Desk,
    verb: &str,
) -> Result<Command, LaunchError> {
    disk::make_private(container.state)
        .map_err(|source| LaunchError::file("make", container.state, source))?;
    let mut command = Command::new(&runtime.path);
    command.env_clear().env("PATH", PATH).current_dir("/");
    command.arg("--root").arg(container.state);
    command.arg("--log").arg(desk.log()).args(["--log-format", "json"]);
    command.arg(runtime.kind.without_cgroups()).arg(verb);
    // The supervisor blocks what it waits for, and runc hands that on. A program of `exec` has a
    // session of its own by all runtimes but crun.
    let apart = || {
        nix::sys::signal::SigSet::empty().thread_set_mask()?;
        Ok(nix::unistd::setsid().map(drop)?)
    };
    // SAFETY: the child only changes its own mask and session.
    unsafe { command.pre_exec(apart) };
    Ok(command)
}

/// Has it carried out in the container's cgroup, of which it sees that it cannot change any, and in
/// its `network`.
pub(super) fn in_cgroup(
    command: &mut Command,
    kind: Kind,
    cgroup: &Path,
    network: Option<File>,
) -> Result<(), LaunchError> {
    let processes = cgroup.join("cgroup.procs");
    let mut processes = File::options()
        .write(true)
        .open(&processes)
        .map_err(|source| LaunchError::file("open", processes, source))?;
    let enter = move || {
        processes.write_all(b"0")?;
        if let Some(network) = &network {
            // One that is not ours to enter is the runtime's, from the container's own users.
            let kind = Some(LinkNameSpaceType::Network);
            let _ = move_into_link_name_space(network.as_fd(), kind);
        }
        if kind == Kind::Runc {
            // SAFETY: only the mount namespace is left; no descriptor and no memory is shared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
            tree::make_read_only(Path::new(CGROUPS))?;
        }
        Ok(())
    };
    // SAFETY: this process has one thread, so that its child may do whatever it may itself.
    unsafe { command.pre_exec(enter) };
    Ok(())
}

/// Carries out a call to its end; what the runtime said, where it failed.
pub(super) fn carry_out(
    runtime: &External,
    mut command: Command,
    desk: &Desk,
) -> Result<Result<(), String>, Error> {
    let ended =
        command.status().map_err(|source| Error::NotRun { name: runtime.name.clone(), source })?;
    if ended.success() {
        return Ok(Ok(()));
    }
    let said = desk.said();
    Ok(Err(if said.is_empty() { ended.to_string() } else { said }))
}

/// Takes what is given to a program in memory only out of the specification that crun keeps of its
/// container, of which nothing but a new program is made later.
pub(super) fn forget(container: Container<'_>, variables: &Variables) -> Result<(), LaunchError> {
    let names: Vec<String> = variables.clone().into_iter().map(|(name, _)| name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let path = container.state.join(container.id.as_str()).join("config.json");
    let failed = |error: oci_spec::OciSpecError| LaunchError::Spec(error.to_string());
    let mut spec = Spec::load(&path).map_err(failed)?;
    if let Some(process) = spec.process_mut() {
        let mut environment = process.env().clone().unwrap_or_default();
        environment.retain(|variable| {
            let name = variable.split_once('=').map_or(variable.as_str(), |(name, _)| name);
            !names.iter().any(|one| one == name)
        });
        process.set_env(Some(environment));
    }
    spec.save(path).map_err(failed)
}

/// Has runc know the container's root by the name that everybody knows: of another user namespace, it
/// was mounted where nobody else sees it, and each program is started from there.
pub(super) fn name_root(container: Container<'_>) -> Result<(), LaunchError> {
    let path = container.state.join(container.id.as_str()).join("state.json");
    let bytes = std::fs::read(&path).map_err(|source| LaunchError::file("read", &path, source))?;
    let mut state: Value = serde_json::from_slice(&bytes).map_err(LaunchError::Json)?;
    state["config"]["rootfs"] = container.bundle.join("rootfs").display().to_string().into();
    let bytes = serde_json::to_vec(&state).map_err(LaunchError::Json)?;
    std::fs::write(&path, bytes).map_err(|source| LaunchError::file("write", path, source))
}

/// Who the streams of a program belong to, which runtimes give to its user: where they are files
/// with a name, they belong to whom they did again, when this is dropped.
pub(super) struct Owners(Vec<(OwnedFd, Uid, Gid)>);

impl Owners {
    pub(super) fn of<'a>(
        streams: impl IntoIterator<Item = BorrowedFd<'a>>,
    ) -> Result<Self, LaunchError> {
        let one = |stream: BorrowedFd<'_>| {
            let found = rustix::fs::fstat(stream)?;
            let owner = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
            std::io::Result::Ok((stream.try_clone_to_owned()?, owner.0, owner.1))
        };
        // What is closed belongs to nobody.
        let open = streams.into_iter().filter(|stream| rustix::fs::fstat(stream).is_ok());
        let owners = open.map(one).collect::<Result<_, _>>();
        let failed = |error| LaunchError::system("look at the standard streams", error);
        owners.map(Self).map_err(failed)
    }
}

impl Drop for Owners {
    fn drop(&mut self) {
        for (stream, user, group) in &self.0 {
            let now = rustix::fs::fstat(stream).map(|now| (now.st_uid, now.st_gid));
            if now.is_ok_and(|now| now != (user.as_raw(), group.as_raw())) {
                // Whose user namespace has not this owner has not changed it, ignoring.
                let _ = rustix::fs::fchown(stream, Some(*user), Some(*group));
            }
        }
    }
}

/// Nothing of ours goes to the runtime, or comes from it.
pub(super) fn silence(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
}
