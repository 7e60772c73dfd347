//! The OCI runtime in this process: libcontainer.

use std::fs::File;
use std::os::fd::AsFd;

use libcontainer::container::Container as Made;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;

use crate::launch::Error;
use crate::launch::runtime::console::Console;
use crate::launch::runtime::program::executor;
use crate::launch::runtime::{
    Container, Entry, Prepared, Ready, Started, Streams, account, apart, hand_over,
};
use crate::model::failure::chain;

pub(super) fn start(
    container: Container<'_>,
    process: &Prepared,
    streams: Streams,
    ready: Ready<'_>,
) -> Result<Started, Error> {
    let Container { id, state, bundle, cgroup } = container;
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
    let make = || -> Result<Option<i32>, LibcontainerError> {
        let mut builder = ContainerBuilder::new(id.to_string(), SyscallType::default())
            .with_root_path(state)?
            .with_executor(executor)
            .with_console_socket(console.as_ref().map(Console::path))
            .validate_id()?;
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
        let container = builder.as_sibling(true).build()?;
        Ok(container.pid().map(|pid| pid.as_raw()))
    };
    let (made, said) = account::listen(|| {
        apart::in_cgroup(cgroup, process.covered, || match make() {
            Ok(pid) => pid.ok_or_else(|| "the runtime names no process".to_owned()),
            Err(error) => Err(chain(&error)),
        })
    })?;
    let made = made.map_err(|source| Error::file("start a process in", cgroup, source))?;
    let pid = match made {
        Ok(pid) => pid,
        Err(why) => {
            let source = LibcontainerError::Other(why);
            return Err(report.or(failed(process, "started", said, source)));
        }
    };
    let mut begin = || {
        // Before the program: its terminal has to be its own by then.
        let terminal = console.as_ref().map(|console| console.receive(process.uid)).transpose()?;
        ready(pid)?;
        let start = || Made::load(state.join(id.as_str()))?.start();
        let (begun, said) = account::listen(start)?;
        begun.map_err(|source| failed(process, "started", said, source))?;
        Ok(terminal)
    };
    match begin() {
        Ok(terminal) => {
            report.wait()?;
            Ok(Started { pid, terminal, bond: None })
        }
        Err(error) => {
            // It may wait for its start without end, and we for its report.
            // SAFETY: plain kill(2), of a child that has not been waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            Err(report.or(error))
        }
    }
}

pub(super) fn exec(
    container: Container<'_>,
    entry: Entry<'_>,
    process: &Prepared,
) -> Result<Started, Error> {
    let Container { id, state, .. } = container;
    let Entry { description, terminal, descriptors, .. } = entry;
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
            .with_preserved_fds(descriptors)
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
            Ok(Started { pid: pid.as_raw(), terminal: terminal.transpose()?, bond: None })
        }
        Err(source) => Err(report.or(failed(process, "entered", said, source))),
    }
}

/// The runtime's failure, by what it `said` of it.
fn failed(
    process: &Prepared,
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
    Error::NoDirectory { directory: process.directory.clone(), why }
}

/// libcontainer clears it for the whole process; without it `/proc/self` is root's alone.
fn restore_dumpable() {
    // SAFETY: sets a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
}
