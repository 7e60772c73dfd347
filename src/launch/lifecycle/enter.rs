//! Starting another program in a container that runs: for `exec`, and for health checks.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::launch::isolation::capability::{Capabilities, available};
use crate::launch::isolation::devices::{self, Device};
use crate::launch::isolation::{self, cgroup};
use crate::launch::lifecycle::confine;
use crate::launch::place::Place;
use crate::launch::process::defaults::{ExecDefaults, write_json};
use crate::launch::process::environment::{DEFAULT_PATH, Environment};
use crate::launch::process::user::{User, keeps_groups, resolve};
use crate::launch::runtime::member::Member;
use crate::launch::spec::{Program, process};
use crate::launch::storage::flags::secret;
use crate::launch::storage::rootfs;
use crate::launch::storage::secrets::{self, Secrets, Variables};
use crate::launch::supervise::Init;
use crate::launch::{Error, host_environment, runtime, userns};
use crate::model::Scope;
use crate::store::containers::Record;

/// What runs, and what of it is not the container's own; by default all is.
#[derive(Debug, Default)]
pub(crate) struct Entry<'a> {
    pub(crate) command: &'a [String],
    /// `NAME=VALUE`, or `NAME` for the caller's value.
    pub(crate) environment: &'a [String],
    pub(crate) user: Option<&'a str>,
    pub(crate) directory: Option<&'a str>,
    pub(crate) terminal: bool,
    /// With all capabilities.
    pub(crate) privileged: bool,
}

/// What the runtime is told of the program.
#[derive(Debug)]
pub(crate) struct Entering<'a> {
    place: &'a Place,
    record: &'a Record,
    file: PathBuf,
    prepared: runtime::Prepared,
    terminal: bool,
}

/// Describes the program, as the container that runs now has it.
///
/// # Errors
/// Where the container does not run, too.
pub(crate) fn prepare<'a>(
    place: &'a Place,
    record: &'a Record,
    entry: &Entry<'_>,
) -> Result<Entering<'a>, Error> {
    let Some(init) = record.pid.filter(|process| process.is_alive()) else {
        return Err(Error::NotRunning(record.name.clone()));
    };
    let root = PathBuf::from(format!("/proc/{}/root", init.pid));
    let read = |file| rootfs::read_in(&root, file).unwrap_or_default();
    let defaults = ExecDefaults::read(place, &record.id)?;
    let user = entry.user.unwrap_or(&defaults.user);
    let groups = read("/etc/group");
    let mut attributes = defaults.attributes;
    let user =
        resolve(user, &read("/etc/passwd"), &groups)?.with_groups(&attributes.groups, &groups)?;
    let mut environment = Environment::default();
    let host = host_environment();
    defaults.environment.iter().for_each(|variable| environment.inherit(variable));
    for variable in entry.environment {
        environment.apply(variable, &host).map_err(Error::Variable)?;
    }
    if entry.terminal {
        environment.set_default("TERM", "xterm");
    }
    environment.set_default("PATH", DEFAULT_PATH);
    environment.set_default("HOME", user.home.as_deref().unwrap_or("/"));
    let directory = entry.directory.unwrap_or(&defaults.directory).to_owned();
    if !directory.starts_with('/') {
        return Err(Error::Workdir(directory));
    }
    let mut capabilities =
        Capabilities::new(&defaults.cap_add, &defaults.cap_drop, user.uid, &defaults.available)?;
    // The filter is the container's, whatever else its programs may do.
    let filter = confine::filter_again(place, &record.id, defaults.filter, &capabilities)?;
    if entry.privileged {
        // Of a user namespace, no node can be opened that is on a file system mounted in it.
        if !defaults.privileged && place.scope == Scope::System {
            confine_devices(record, &defaults.devices)?;
        }
        capabilities = Capabilities::new(&["all".to_owned()], &[], user.uid, &available())?;
    }
    attributes.limits = attributes.limits.within_reach();
    let (uid, member) = member(init.pid, &user)?;
    // In another user namespace, it is root's until it has become its user's.
    let root = User { uid: 0, gid: 0, groups: Vec::new(), home: None };
    let program = Program {
        user: if member.is_some() { &root } else { &user },
        arguments: entry.command.to_vec(),
        environment: environment.to_strings(),
        directory: &directory,
        capabilities: &capabilities,
        terminal: entry.terminal,
        attributes: &attributes,
    };
    let process = process(program).map_err(|error| Error::Spec(error.to_string()))?;
    let name = format!("exec-{}.json", std::process::id());
    let file = place.records().directory(&record.id).join(name);
    write_json(&file, &process)?;
    let variables = given(place, &defaults.secrets)?;
    let prepared = runtime::Prepared {
        uid,
        directory,
        capabilities,
        variables,
        frozen: false,
        shares: Vec::new(),
        filter,
        keep_groups: keeps_groups(&attributes.groups),
        oom_score: attributes.oom_score,
        member,
        _held: Vec::new(),
    };
    Ok(Entering { place, record, file, prepared, terminal: entry.terminal })
}

/// Who the user is on the host; and how a program becomes it, where that takes more than its number.
fn member(init: i32, user: &User) -> Result<(u32, Option<Arc<Member>>), Error> {
    let Some(namespace) = userns::have::other(init).map_err(userns::Error::Prepare)? else {
        return Ok((user.uid, None));
    };
    let unmapped = || userns::Error::Unmapped(user.uid);
    let uid = userns::have::user_of(init, user.uid).ok_or_else(unmapped)?;
    let (groups, gid) = (user.groups.clone(), user.gid);
    Ok((uid, Some(Arc::new(Member { namespace, uid: user.uid, gid, groups }))))
}

/// The secrets that the container has as variables. One that was removed since is no reason not to
/// enter.
fn given(place: &Place, asked: &[String]) -> Result<Variables, Error> {
    let mut flags = Vec::new();
    let secrets = Secrets::open(place);
    for text in asked {
        let flag = secret::parse(text)?;
        if secrets.find(&flag.name).is_ok() {
            flags.push(flag);
        }
    }
    Ok(secrets::variables(place, &flags)?)
}

/// Who can make nodes of any device is to open no others than the container's programs.
fn confine_devices(record: &Record, devices: &[Device]) -> Result<(), Error> {
    let cgroup = record.cgroup.as_deref().ok_or(isolation::Error::Privileged)?;
    let directory = cgroup::directory(cgroup);
    let confined = devices::is_confined(&directory).and_then(|confined| match confined {
        true => Ok(()),
        false => devices::confine(&directory, devices),
    });
    confined.map_err(|source| Error::file("confine the devices of cgroup", directory, source))
}

impl Entering<'_> {
    /// Starts the program, with this process's own streams, or a terminal.
    pub(crate) fn start(&self) -> Result<(Init, Option<OwnedFd>), Error> {
        let (id, runtime) = (&self.record.id, self.place.runtime());
        let started = runtime::exec(id, &runtime, &self.file, &self.prepared, self.terminal)?;
        Ok((Init::new(started.pid), started.terminal))
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Without a caller's input the program reads end of file, as in podman-exec(1).
pub(crate) fn close_input() -> Result<(), Error> {
    let null = std::fs::File::open("/dev/null")
        .map_err(|source| Error::file("open", "/dev/null", source))?;
    rustix::stdio::dup2_stdin(&null).map_err(|error| Error::system("close standard input", error))
}

/// What a program in the background says is heard by nobody.
pub(crate) fn close_output() -> Result<(), Error> {
    let null = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/null")
        .map_err(|source| Error::file("open", "/dev/null", source))?;
    rustix::stdio::dup2_stdout(&null)
        .and_then(|()| rustix::stdio::dup2_stderr(&null))
        .map_err(|error| Error::system("close standard output", error))
}
