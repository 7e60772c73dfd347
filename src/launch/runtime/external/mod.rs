//! The OCI runtime as a program of this host: crun or runc, by the command line that both have
//! (runc(8), crun(1)).
//!
//! It makes the container, and ends; what it started is a child of this process from then on. All
//! else is as with the other runtime: this program waits, stops, measures and clears away itself.

mod adapt;
mod call;
mod desk;
mod error;
mod find;
mod interpreter;
mod look;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci_spec::runtime::{LinuxNamespaceType, Mount, PosixRlimit, PosixRlimitType, Process, Spec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit};

use crate::launch::process::activation;
use crate::launch::runtime::bond::Bond;
use crate::launch::runtime::console::Console;
use crate::launch::runtime::external::adapt::Caller;
use crate::launch::runtime::external::call::Owners;
use crate::launch::runtime::external::desk::Desk;
use crate::launch::runtime::{Container, Entry, Prepared, Ready, Started, Streams, hand_over};
use crate::launch::storage::rootfs::resolve;
use crate::launch::storage::tree;
use crate::launch::{Error as LaunchError, terminal};

pub(crate) use error::Error;

/// A runtime of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    /// As it was asked for.
    name: String,
    path: PathBuf,
    kind: Kind,
}

/// What differs between them is known of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crun,
    Runc,
}

/// A process that was started and is nobody's yet: killed when dropped.
struct Unclaimed(i32);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0);
        // A child of ours that has not been waited for.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(pid, None);
    }
}

impl Unclaimed {
    fn claim(self) -> i32 {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl External {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn start(
        &self,
        container: Container<'_>,
        process: &Prepared,
        streams: Streams,
        ready: Ready<'_>,
    ) -> Result<Started, LaunchError> {
        let score = self.prepare(process)?;
        streams.hand_over(process.uid)?;
        let owners = Owners::of(streams.named())?;
        let desk = Desk::lay(container.bundle, "oci")?;
        let spec = self.describe(container, process, &desk)?;
        let first = spec.process().clone().unwrap_or_default();
        let console = streams.terminal.then(|| Console::open(container.bundle)).transpose()?;
        let mut create = call::call(self, container, &desk, "create")?;
        create.arg("--bundle").arg(desk.path());
        told(&mut create, &desk, console.as_ref(), activation::count());
        create.arg(container.id.as_str());
        stream(&mut create, streams);
        call::in_cgroup(&mut create, self.kind, container.cgroup, None)?;
        call::carry_out(self, create, &desk)?
            .map_err(|said| self.failed("create", &said, &first))?;
        drop(owners);
        let started = self.claimed(&desk)?;
        match self.kind {
            Kind::Crun => call::forget(container, &process.variables)?,
            Kind::Runc => {
                limit_files(started.0, &first)?;
                call::name_root(container)?;
            }
        }
        // The first process has it by now; who watches over that keeps ours.
        drop(score);
        let bond = Bond::tie(started.0)?;
        let terminal = console.map(|console| console.receive(process.uid)).transpose()?;
        ready(started.0)?;
        look::program(started.0, &first, &process.capabilities)?;
        let mut start = call::call(self, container, &desk, "start")?;
        start.arg(container.id.as_str());
        call::silence(&mut start);
        call::carry_out(self, start, &desk)?.map_err(|said| self.failed("start", &said, &first))?;
        Ok(Started { pid: started.claim(), terminal, bond: Some(bond) })
    }

    pub(super) fn exec(
        &self,
        container: Container<'_>,
        entry: Entry<'_>,
        process: &Prepared,
    ) -> Result<Started, LaunchError> {
        let score = self.prepare(process)?;
        Streams::default().hand_over(process.uid)?;
        hand_over(std::io::stdin().as_fd(), process.uid)?;
        let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        let owners = Owners::of(own)?;
        let desk = Desk::lay(container.bundle, &format!("oci-exec-{}", std::process::id()))?;
        let description = std::fs::read(entry.description)
            .map_err(|source| LaunchError::file("read", entry.description, source))?;
        let mut program: Process =
            serde_json::from_slice(&description).map_err(LaunchError::Json)?;
        look::program(entry.init, &program, &process.capabilities)?;
        adapt::program(&mut program, &process.variables, terminal::size())
            .map_err(|error| LaunchError::Spec(error.to_string()))?;
        let console = entry.terminal.then(|| Console::open(desk.path())).transpose()?;
        let mut exec = call::call(self, container, &desk, "exec")?;
        exec.arg("--detach").arg("--process").arg(desk.write("process.json", &program)?);
        told(&mut exec, &desk, console.as_ref(), entry.descriptors);
        exec.arg(container.id.as_str());
        if console.is_some() {
            call::silence(&mut exec);
        }
        let network = network_of(entry.init)?;
        call::in_cgroup(&mut exec, self.kind, container.cgroup, network)?;
        call::carry_out(self, exec, &desk)?
            .map_err(|said| self.failed("enter", &said, &program))?;
        drop(owners);
        let started = self.claimed(&desk)?;
        drop(score);
        if self.kind == Kind::Runc {
            limit_files(started.0, &program)?;
        }
        let bond = Bond::tie(started.0)?;
        let terminal = console.map(|console| console.receive(process.uid)).transpose()?;
        Ok(Started { pid: started.claim(), terminal, bond: Some(bond) })
    }

    /// What this process is to be when it calls a runtime. What that starts is an orphan when it
    /// has ended, and ours then.
    fn prepare(
        &self,
        process: &Prepared,
    ) -> Result<Option<crate::launch::isolation::oom::Own>, LaunchError> {
        if process.keep_groups && self.kind == Kind::Runc {
            return Err(Error::KeepGroups(self.name.clone()).into());
        }
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|error| LaunchError::system("become the parent of orphans", error))?;
        process.drop_groups()?;
        process.take_oom_score()
    }

    /// Writes the specification that the runtime is told.
    fn describe(
        &self,
        container: Container<'_>,
        process: &Prepared,
        desk: &Desk,
    ) -> Result<Spec, LaunchError> {
        let failed = |error: oci_spec::OciSpecError| LaunchError::Spec(error.to_string());
        let mut spec = Spec::load(container.bundle.join("config.json")).map_err(failed)?;
        look_for_directory(&spec)?;
        let caller = Caller {
            pid: std::process::id(),
            sockets: activation::count(),
            size: terminal::size(),
        };
        let namespaces = spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
        let is_of_users =
            namespaces.into_iter().any(|namespace| namespace.typ() == LinuxNamespaceType::User);
        if self.kind == Kind::Crun && is_of_users && has_own_cgroups(&spec) {
            return Err(Error::NoCgroups(self.name.clone()).into());
        }
        for mount in spec.mounts_mut().iter_mut().flatten() {
            let source = mount.source().clone().filter(|_| mount.typ().as_deref() == Some("bind"));
            let Some(source) = source else { continue };
            adapt::bind(mount, rustix::fs::statvfs(&source).map(|found| found.f_flag).ok());
            if self.kind == Kind::Crun && is_of_users {
                // Into a user namespace it moves them as they are; they are copies, for it alone.
                let words = mount.options().as_deref().unwrap_or_default();
                tree::restrict(&source, words)
                    .map_err(|error| LaunchError::file("restrict the mount at", &source, error))?;
            }
            if std::fs::metadata(source).is_ok_and(|it| !it.is_dir()) {
                adapt::leave_recursion(mount);
            }
        }
        adapt::container(&mut spec, process, caller).map_err(failed)?;
        desk.write("config.json", &spec)?;
        Ok(spec)
    }

    fn claimed(&self, desk: &Desk) -> Result<Unclaimed, Error> {
        let name = self.name.clone();
        desk.pid().map(Unclaimed).map_err(|source| Error::NoProcess { name, source })
    }

    fn failed(&self, verb: &'static str, said: &str, process: &Process) -> LaunchError {
        let command = process.args().iter().flatten().next().map(String::as_str);
        let directory = process.cwd().display().to_string();
        error::failure(&self.name, verb, said, command.unwrap_or_default(), &directory)
    }
}

/// Where it writes the process's number and sends its terminal, and what descriptors it leaves open.
fn told(command: &mut Command, desk: &Desk, console: Option<&Console>, descriptors: i32) {
    command.arg("--pid-file").arg(desk.pid_file());
    if let Some(console) = console {
        command.arg("--console-socket").arg(console.short_path());
    }
    if descriptors > 0 {
        command.arg("--preserve-fds").arg(descriptors.to_string());
    }
}

/// The program's streams are the runtime's, unless it has a terminal.
fn stream(command: &mut Command, streams: Streams) {
    if streams.terminal {
        call::silence(command);
        return;
    }
    command.stdin(streams.input.map_or_else(Stdio::null, Stdio::from));
    if let Some(output) = streams.output {
        command.stdout(output);
    }
    if let Some(error) = streams.error {
        command.stderr(error);
    }
}

/// Both runtimes make a working directory that is not there: one that was asked for has to be. What
/// is mounted is looked into where it comes from.
fn look_for_directory(spec: &Spec) -> Result<(), LaunchError> {
    let Some(process) = spec.process() else { return Ok(()) };
    let root = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    let covers = |target: &Path| process.cwd().starts_with(target);
    let mut mounts = spec.mounts().iter().flatten().filter(|mount| covers(mount.destination()));
    let (place, rest) = match mounts.next_back() {
        None => (root, process.cwd().strip_prefix("/").unwrap_or(process.cwd())),
        Some(mount) => {
            let rest = process.cwd().strip_prefix(mount.destination()).unwrap_or(Path::new(""));
            match (mount.typ().as_deref(), mount.source()) {
                (Some("bind"), Some(source)) => (source.clone(), rest),
                (Some("tmpfs"), _) if !rest.as_os_str().is_empty() => {
                    let directory = process.cwd().display().to_string();
                    return Err(LaunchError::NoDirectory { directory, why: "does not exist" });
                }
                // The root of a tmpfs, or the kernel's own.
                _ => return Ok(()),
            }
        }
    };
    let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = File::open(&place)
        .map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
        .and_then(|place| resolve(&place, rest, flags));
    let why = match found {
        Ok(_) => return Ok(()),
        Err(Errno::NOENT) => "does not exist",
        Err(Errno::NOTDIR) => "is not a directory",
        Err(_) => "cannot be entered",
    };
    Err(LaunchError::NoDirectory { directory: process.cwd().display().to_string(), why })
}

/// Versions of runc that are built with Go 1.19 to 1.20 raise this one limit as far as it goes, for
/// themselves and for what they start in a container.
fn limit_files(pid: i32, process: &Process) -> Result<(), LaunchError> {
    let limits = process.rlimits().iter().flatten();
    let of_files = |limit: &&PosixRlimit| limit.typ() == PosixRlimitType::RlimitNofile;
    let limit = match limits.into_iter().find(of_files) {
        Some(limit) => Rlimit { current: Some(limit.soft()), maximum: Some(limit.hard()) },
        // The host's are asked for: ours.
        None => getrlimit(Resource::Nofile),
    };
    let pid = rustix::process::Pid::from_raw(pid);
    match rustix::process::prlimit(pid, Resource::Nofile, limit) {
        // It has ended by now; or it is another user's, and this host's root may not all. It is a
        // limit that the program could raise itself.
        Ok(_) | Err(Errno::SRCH | Errno::PERM) => Ok(()),
        Err(error) => Err(LaunchError::system("limit the open files of the program", error)),
    }
}

/// Whether the container is to write to its cgroups, as a systemd in it does.
fn has_own_cgroups(spec: &Spec) -> bool {
    let is_writable = |mount: &Mount| {
        mount.typ().as_deref() == Some("cgroup")
            && mount.options().iter().flatten().any(|option| option == "rw")
    };
    spec.mounts().iter().flatten().any(is_writable)
}

/// The network of a container, where it is another than ours: a runtime knows of none that the
/// container was started in.
fn network_of(init: i32) -> Result<Option<File>, LaunchError> {
    let failed = |source| LaunchError::system("look for the container's network", source);
    let open = |process: &str| File::open(format!("/proc/{process}/ns/net"));
    let theirs = open(&init.to_string()).map_err(failed)?;
    let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    let own = open("self").and_then(|own| identity(&own)).map_err(failed)?;
    Ok(Some(theirs).filter(|theirs| identity(theirs).is_ok_and(|found| found != own)))
}
