//! The OCI runtime, in this process: libcontainer.

pub(crate) mod account;
mod apart;
pub(crate) mod console;
pub(crate) mod member;
pub(crate) mod program;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use rustix::fs::Uid;
use rustix::io::Errno;

use crate::launch::Error;
use crate::launch::isolation::capability::Capabilities;
use crate::launch::isolation::seccomp::Filter;
use crate::launch::isolation::{self, oom};
use crate::launch::runtime::apart::{Begun, Failure};
use crate::launch::runtime::console::Console;
use crate::launch::runtime::member::Member;
use crate::launch::runtime::program::executor;
use crate::launch::storage::propagation::{self, Share};
use crate::launch::storage::secrets::Variables;
use crate::model::ContainerId;
use crate::model::failure::chain;

/// What is known of a program before it is started, but for its specification.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) uid: u32,
    pub(crate) directory: String,
    pub(crate) capabilities: Capabilities,
    /// Given to the program in memory only.
    pub(crate) variables: Variables,
    /// Whether its /dev is read-only.
    pub(crate) frozen: bool,
    /// Mounts that are shared with the host.
    pub(crate) shares: Vec<Share>,
    /// The filter of system calls.
    pub(crate) filter: Option<Filter>,
    /// Whether it keeps this process's groups.
    pub(crate) keep_groups: bool,
    pub(crate) oom_score: Option<i32>,
    /// Whom the program becomes in a user namespace that the runtime does not enter.
    pub(crate) member: Option<Arc<Member>>,
    /// Whether the container sees nothing of the host's cgroups, and none of the mounts there.
    pub(crate) covered: bool,
    /// Files that its specification names by their descriptors.
    pub(crate) _held: Vec<File>,
}

impl Prepared {
    /// The caller's supplementary groups are not the container's; libcontainer leaves them where
    /// the container's user has none. Nothing that this process does later needs them.
    fn drop_groups(&self) -> Result<(), Error> {
        if self.keep_groups || nix::unistd::getgroups().is_ok_and(|groups| groups.is_empty()) {
            return Ok(());
        }
        match nix::unistd::setgroups(&[]) {
            // Of a user namespace with one user only, nobody can leave a group: user_namespaces(7).
            Err(nix::Error::EPERM) if is_denied() => Ok(()),
            left => left.map_err(|error| Error::system("leave our groups", error)),
        }
    }

    /// The runtime gives the score to this process, for its children: it is ours again afterwards.
    fn take_oom_score(&self) -> Result<Option<oom::Own>, Error> {
        let Some(score) = self.oom_score else { return Ok(None) };
        oom::change(score).map(Some).map_err(|source| match source.kind() {
            std::io::ErrorKind::PermissionDenied => isolation::Error::OomScore(score).into(),
            _ => Error::system("set --oom-score-adj", source),
        })
    }

    /// The runtime's failure, by what it `said` of it.
    fn failed(
        &self,
        stage: &'static str,
        said: Option<String>,
        source: LibcontainerError,
    ) -> Error {
        let why = match said.as_deref().and_then(|said| said.strip_prefix("failed to chdir")) {
            None => return Error::Runtime { stage, said, source: Box::new(source) },
            Some(": ENOENT") => "does not exist",
            Some(": ENOTDIR") => "is not a directory",
            Some(_) => "cannot be entered",
        };
        Error::NoDirectory { directory: self.directory.clone(), why }
    }
}

/// What the program's standard output and error are; `None` is our own.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) output: Option<OwnedFd>,
    pub(crate) error: Option<OwnedFd>,
    /// Its standard input; `None` is none, for a container.
    pub(crate) input: Option<OwnedFd>,
    /// It has a terminal instead.
    pub(crate) terminal: bool,
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: i32,
    /// The other end of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// The magic number of pipefs, where the pipes without a name are (`linux/magic.h`).
const PIPEFS: rustix::fs::FsWord = 0x5049_5045;

impl Streams {
    /// Makes `uid` the owner of those that are pipes: a program that is not root could not open
    /// `/dev/stdout` otherwise.
    fn hand_over(&self, uid: u32) -> Result<(), Error> {
        if let Some(input) = &self.input {
            hand_over(input.as_fd(), uid)?;
        }
        let (output, error) = (std::io::stdout(), std::io::stderr());
        hand_over(self.output.as_ref().map_or(output.as_fd(), AsFd::as_fd), uid)?;
        hand_over(self.error.as_ref().map_or(error.as_fd(), AsFd::as_fd), uid)
    }
}

/// What has a name on the host stays as it is.
fn hand_over(stream: BorrowedFd<'_>, uid: u32) -> Result<(), Error> {
    if !rustix::fs::fstatfs(stream).is_ok_and(|system| system.f_type == PIPEFS) {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None) {
        // Somebody else's, whom the user namespace has not: it can be written to, not opened anew.
        Err(Errno::PERM) => Ok(()),
        changed => changed.map_err(|error| Error::system("hand over the standard streams", error)),
    }
}

/// Starts the container that `bundle` describes; returns its first process once the program runs.
/// Without one its standard input is empty: ours is somebody else's.
pub(crate) fn start(
    id: &ContainerId,
    state: &Path,
    bundle: &Path,
    process: &Prepared,
    cgroup: &Path,
    streams: Streams,
) -> Result<Started, Error> {
    let (report, executor) = executor(process, streams.terminal)?;
    process.drop_groups()?;
    let _score = process.take_oom_score()?;
    streams.hand_over(process.uid)?;
    let input = match streams.input {
        Some(input) => input,
        None => File::open("/dev/null")
            .map_err(|source| Error::file("open", "/dev/null", source))?
            .into(),
    };
    let console = streams.terminal.then(|| Console::open(bundle)).transpose()?;
    let refused = |error: Error| Failure { status: Some(error.status()), why: chain(&error) };
    let begin = || {
        let failed = |error: LibcontainerError| Failure { status: None, why: chain(&error) };
        let mut builder = ContainerBuilder::new(id.to_string(), SyscallType::default())
            .with_root_path(state)
            .map_err(failed)?
            .with_executor(executor)
            .with_console_socket(console.as_ref().map(Console::path))
            .validate_id()
            .map_err(failed)?;
        if console.is_none() {
            builder = builder.with_stdin(input);
        }
        if let Some(output) = streams.output {
            builder = builder.with_stdout(output);
        }
        if let Some(error) = streams.error {
            builder = builder.with_stderr(error);
        }
        let builder = builder.as_init(bundle).with_systemd(false).with_detach(console.is_some());
        let mut container = builder.as_sibling(true).build().map_err(failed)?;
        let pid = container.pid().map(|pid| pid.as_raw());
        let pid = pid.ok_or_else(|| refused(Error::Spec("the runtime names no process".into())))?;
        let mut begin = || {
            // Before the program: its terminal has to be its own by then.
            let terminal = console.as_ref().map(|console| console.receive(process.uid));
            let terminal = terminal.transpose().map_err(refused)?;
            propagation::apply(&process.shares, pid).map_err(|error| refused(error.into()))?;
            container.start().map_err(failed)?;
            Ok(Begun { pid, terminal })
        };
        begin().inspect_err(|_| {
            // It may wait for its start without end, and the launcher for its report.
            // SAFETY: plain kill(2), of a process that nobody has waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        })
    };
    let (begun, said) = account::listen(|| apart::in_cgroup(cgroup, process.covered, begin))?;
    let begun =
        begun.map_err(|error| Error::system("start a process in the container's cgroup", error))?;
    let failed = |why: String| process.failed("started", said, LibcontainerError::Other(why));
    let error = match begun {
        Some(Ok(Begun { pid, terminal })) => {
            report.wait()?;
            return Ok(Started { pid, terminal });
        }
        Some(Err(Failure { status: Some(status), why })) => Error::Background { status, said: why },
        Some(Err(Failure { status: None, why })) => failed(why),
        // The runtime's way to clear away all that it has begun.
        None => failed("its processes were killed".to_owned()),
    };
    Err(report.or(error))
}

/// Starts another program in a running container; `description` is its specification in a file.
pub(crate) fn exec(
    id: &ContainerId,
    state: &Path,
    description: &Path,
    process: &Prepared,
    terminal: bool,
) -> Result<Started, Error> {
    let console = description.parent().filter(|_| terminal).map(Console::open).transpose()?;
    let (report, executor) = executor(process, terminal)?;
    process.drop_groups()?;
    let _score = process.take_oom_score()?;
    Streams::default().hand_over(process.uid)?;
    hand_over(std::io::stdin().as_fd(), process.uid)?;
    let (started, said) = account::listen(|| {
        ContainerBuilder::new(id.to_string(), SyscallType::default())
            .with_root_path(state)?
            .with_executor(executor)
            .with_console_socket(console.as_ref().map(Console::path))
            .as_tenant()
            .with_detach(console.is_some())
            .with_process(Some(description))
            .build()
    })?;
    restore_dumpable();
    match started {
        Ok(pid) => {
            let terminal = console.map(|console| console.receive(process.uid));
            report.wait()?;
            Ok(Started { pid: pid.as_raw(), terminal: terminal.transpose()? })
        }
        Err(source) => Err(report.or(process.failed("entered", said, source))),
    }
}

fn is_denied() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

/// libcontainer clears it for the whole process; without it `/proc/self` is root's alone.
fn restore_dumpable() {
    // SAFETY: sets a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
}
