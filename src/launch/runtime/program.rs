//! A container's program: found, confined and executed in the container's first process, which says
//! how that went.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use caps::{CapSet, Capability};
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use oci_spec::runtime::{Process, Spec};
use rustix::event::{PollFd, PollFlags, poll};

use crate::launch::Error;
use crate::launch::isolation::seccomp::Filter;
use crate::launch::runtime::Prepared;
use crate::launch::runtime::member::Member;
use crate::launch::storage::secrets::Variables;
use crate::launch::storage::tree;
use crate::launch::terminal::{self, Size};

/// Both ends of a start: who hears of it, and who carries it out. A `terminal` begins with the size
/// of ours.
pub(super) fn executor(process: &Prepared, terminal: bool) -> Result<(Report, Launch), Error> {
    let Prepared { capabilities, filter, variables, frozen, member, .. } = process;
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Error::system("make a pipe", error))?;
    let launch = Launch {
        filter: filter.clone(),
        bounding: parse(&capabilities.bounding),
        effective: parse(&capabilities.effective),
        ambient: parse(&capabilities.ambient),
        variables: variables.clone(),
        frozen: *frozen,
        member: member.clone(),
        size: if terminal { terminal::size() } else { None },
        report: write.as_raw_fd(),
        launcher: read.as_raw_fd(),
    };
    Ok((Report { read: read.into(), write: Some(write) }, launch))
}

pub(super) fn parse(names: &std::collections::BTreeSet<String>) -> HashSet<Capability> {
    names.iter().filter_map(|name| Capability::from_str(&format!("CAP_{name}")).ok()).collect()
}

/// How the program's start went: end of file where it was executed, else why it was not.
#[derive(Debug)]
pub(super) struct Report {
    read: std::fs::File,
    write: Option<OwnedFd>,
}

impl Report {
    /// Waits until the program has been executed.
    pub(super) fn wait(mut self) -> Result<(), Error> {
        self.write = None;
        let mut text = String::new();
        self.read
            .read_to_string(&mut text)
            .map_err(|error| Error::system("hear of the program's start", error))?;
        match failure(&text) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// What was reported, else `other`. The runtime's processes have ended.
    pub(super) fn or(self, other: Error) -> Error {
        self.wait().err().unwrap_or(other)
    }
}

pub(super) const NOT_FOUND: &str = "not found";
pub(super) const NO_INTERPRETER: &str = "no interpreter";

/// Reads a report: the command, a NUL, why.
pub(super) fn failure(text: &str) -> Option<Error> {
    let (command, why) = text.split_once('\0')?;
    let command = command.to_owned();
    Some(match why {
        NOT_FOUND => Error::CommandNotFound { command },
        NO_INTERPRETER => Error::InterpreterNotFound { command },
        why => Error::CommandNotExecutable { command, why: why.to_owned() },
    })
}

/// Runs in the container's first process, right before its program.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    filter: Option<Filter>,
    bounding: HashSet<Capability>,
    effective: HashSet<Capability>,
    ambient: HashSet<Capability>,
    /// Given to the program besides those of its specification.
    variables: Variables,
    /// Whether /dev is read-only, which it could not be before.
    frozen: bool,
    /// Whom it becomes first.
    member: Option<Arc<Member>>,
    size: Option<Size>,
    report: RawFd,
    /// Our copy of the end that only the launcher reads.
    launcher: RawFd,
}

impl Executor for Launch {
    /// In the container already: finds the program as execvp(3) will.
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let (command, _) = arguments(spec).map_err(ExecutorValidationError::ArgValidationError)?;
        match find(&command, path_of(spec)) {
            Ok(_) => Ok(()),
            Err(why) => {
                self.tell(&command, why);
                Err(ExecutorValidationError::ArgValidationError(why.to_owned()))
            }
        }
    }

    /// Replaces the whole environment. The trait's own way panics on variables that are no text.
    fn setup_envs(&self, variables: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        let fits = |text: &str, banned: &[char]| !text.contains(banned);
        // SAFETY: this process has one thread; nobody reads the environment meanwhile.
        unsafe { libc::clearenv() };
        for (name, value) in variables.into_iter().chain(self.variables.clone()) {
            if !name.is_empty() && fits(&name, &['=', '\0']) && fits(&value, &['\0']) {
                // SAFETY: as above.
                unsafe { std::env::set_var(name, value) };
            }
        }
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let (command, words) = arguments(spec).map_err(ExecutorError::Other)?;
        let path = find(&command, path_of(spec)).map_err(|why| {
            self.tell(&command, why);
            ExecutorError::Other(why.to_owned())
        })?;
        let path = c_string(&path.to_string_lossy()).map_err(ExecutorError::Other)?;
        self.restore_signals();
        if let Some(size) = self.size {
            terminal::resize(std::io::stdin(), size);
        }
        // Last of all: a change of capabilities undoes it.
        self.freeze()
            .and_then(|()| self.member.as_ref().map_or(Ok(()), |member| member.become_it()))
            .and_then(|()| self.shed_privileges())
            .and_then(|()| self.die_with_launcher())
            .map_err(|error| {
                self.tell(&command, &error);
                ExecutorError::Other(error)
            })?;
        let Err(error) = nix::unistd::execv(&path, &words);
        let why = match error {
            // The file itself was found before.
            nix::Error::ENOENT => NO_INTERPRETER,
            other => other.desc(),
        };
        self.tell(&command, why);
        Err(ExecutorError::Other(error.to_string()))
    }
}

impl Launch {
    fn tell(&self, command: &str, why: &str) {
        // SAFETY: the descriptor is the pipe's, which this process inherited and never closes;
        // `ManuallyDrop` keeps it open for a second report.
        let pipe = unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(self.report) };
        let mut pipe = std::mem::ManuallyDrop::new(pipe);
        let _ = pipe.write_all(format!("{command}\0{why}").as_bytes());
    }

    /// Rust ignores SIGPIPE, and the supervisor blocks what it waits for: neither is the program's.
    fn restore_signals(&self) {
        // SAFETY: sets a signal's default action; no handler of ours is replaced.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let none = nix::sys::signal::SigSet::empty();
        let _ = none.thread_set_mask();
    }

    /// A launcher that is killed takes the container along. One that is gone already is known by
    /// the pipe that it no longer reads: who the parent is cannot be seen from inside.
    fn die_with_launcher(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("death with the launcher: {error}");
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
            .map_err(|error| failed(error.into()))?;
        // SAFETY: both descriptors are this process's copies, and nothing else in it uses them; the
        // second stays open.
        let writing = unsafe {
            libc::close(self.launcher);
            std::os::fd::BorrowedFd::borrow_raw(self.report)
        };
        let mut polled = [PollFd::from_borrowed_fd(writing, PollFlags::empty())];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&now)).map_err(|error| failed(error.into()))?;
        match polled[0].revents().contains(PollFlags::ERR) {
            true => Err("the launcher is gone".to_owned()),
            false => Ok(()),
        }
    }

    fn freeze(&self) -> Result<(), String> {
        if !self.frozen {
            return Ok(());
        }
        tree::make_read_only(Path::new("/dev")).map_err(|error| format!("read-only /dev: {error}"))
    }

    /// Loads the filter, then drops what only that needed.
    fn shed_privileges(&self) -> Result<(), String> {
        if let Some(filter) = &self.filter {
            filter.load().map_err(|error| format!("system call filter: {error}"))?;
        }
        let failed = |error: caps::errors::CapsError| format!("capabilities: {error}");
        let bounding = caps::read(None, CapSet::Bounding).map_err(failed)?;
        for extra in bounding.difference(&self.bounding) {
            caps::drop(None, CapSet::Bounding, *extra).map_err(failed)?;
        }
        caps::set(None, CapSet::Effective, &self.effective).map_err(failed)?;
        caps::set(None, CapSet::Permitted, &self.effective).map_err(failed)?;
        caps::set(None, CapSet::Inheritable, &self.ambient).map_err(failed)?;
        caps::set(None, CapSet::Ambient, &self.ambient).map_err(failed)
    }
}

/// The command and all words, as execve(2) takes them.
fn arguments(spec: &Spec) -> Result<(String, Vec<CString>), String> {
    let words = spec.process().as_ref().and_then(|process| process.args().as_ref());
    let words = words.filter(|words| !words.is_empty()).ok_or("no command")?;
    let all = words.iter().map(|word| c_string(word)).collect::<Result<_, _>>()?;
    Ok((words[0].clone(), all))
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} holds a NUL"))
}

fn path_of(spec: &Spec) -> &str {
    spec.process().as_ref().map(path_in).unwrap_or_default()
}

/// Where a program looks for others.
pub(super) fn path_in(process: &Process) -> &str {
    let mut variables = process.env().iter().flatten();
    variables.find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default()
}

/// Where a command is, by the rules of execvp(3), or why it cannot run.
pub(super) fn find(command: &str, path: &str) -> Result<PathBuf, &'static str> {
    if command.contains('/') {
        return runnable(Path::new(command)).map(|()| command.into());
    }
    let mut worst = NOT_FOUND;
    for directory in path.split(':').filter(|directory| !directory.is_empty()) {
        let candidate = Path::new(directory).join(command);
        match runnable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(NOT_FOUND) => {}
            Err(why) => worst = why,
        }
    }
    Err(worst)
}

fn runnable(path: &Path) -> Result<(), &'static str> {
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err("permission denied")
        }
        Err(_) => Err(NOT_FOUND),
        Ok(metadata) if !metadata.is_file() => Err("not a file"),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => Err("permission denied"),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_which_status_it_is() {
        assert!(failure("").is_none());
        assert_eq!(failure("x\0not found").unwrap().status(), 127);
        assert_eq!(failure("x\0no interpreter").unwrap().status(), 127);
        assert_eq!(failure("x\0permission denied").unwrap().status(), 126);
    }

    #[test]
    fn commands_are_found_as_execvp_finds_them() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let path = directory.path().join(name);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        make("tool", 0o755);
        make("text", 0o644);
        let path = format!("/nowhere::{}", directory.path().display());
        assert_eq!(find("tool", &path).unwrap(), directory.path().join("tool"));
        assert_eq!(find("text", &path), Err("permission denied"));
        assert_eq!(find("none", &path), Err(NOT_FOUND));
        assert_eq!(find(directory.path().to_str().unwrap(), &path), Err("not a file"));
        assert_eq!(find("/nowhere/x", &path), Err(NOT_FOUND));
    }
}
