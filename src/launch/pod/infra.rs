//! The process that holds a pod's namespaces: it waits, and reaps where it is the first of a PID
//! namespace. It is a clone of this one, so there is no image and no program to look after.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use rustix::process::WaitOptions;

use crate::launch::pod::definition::{Namespace, Pod};
use crate::launch::supervise::Init;

/// The bit that clone(2) knows a namespace by.
fn flag(namespace: Namespace) -> libc::c_int {
    match namespace {
        Namespace::Ipc => libc::CLONE_NEWIPC,
        Namespace::Net => libc::CLONE_NEWNET,
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Uts => libc::CLONE_NEWUTS,
    }
}

/// What the process enters first, so that its new namespaces belong there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entering<'a> {
    pub(crate) network: Option<BorrowedFd<'a>>,
    /// The user namespace of the pod's containers, where that is not ours.
    pub(crate) users: Option<BorrowedFd<'a>>,
}

/// Starts the process; it is in new `namespaces`, and where it was to enter, when this returns, with
/// `hostname` where it has a name of its own. It dies with this process.
pub(crate) fn start(
    namespaces: impl Iterator<Item = Namespace>,
    entering: Entering<'_>,
    hostname: Option<&str>,
) -> io::Result<Init> {
    let flags = namespaces.fold(0, |flags, namespace| flags | flag(namespace));
    let (mut ready, done) = io::pipe()?;
    let (mut number, mut told) = io::pipe()?;
    // It enters in a process between the two, which gives it to us as a child of our own
    // (CLONE_PARENT): from another user namespace this one could not come back.
    // SAFETY: this process has one thread, so the child's memory is whole.
    let between = match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => child,
        nix::unistd::ForkResult::Child => {
            drop((ready, number));
            let result = enter(entering).and_then(|()| clone(flags));
            if matches!(result, Ok(0)) {
                drop(told);
                hold(hostname, done);
            }
            let text = match result {
                Ok(pid) => format!("{pid}"),
                Err(error) => format!("-{}", error.raw_os_error().unwrap_or(libc::EIO)),
            };
            let _ = told.write_all(text.as_bytes());
            // SAFETY: ends this process without the exit handlers of the one it is a clone of.
            unsafe { libc::_exit(0) };
        }
    };
    drop((done, told));
    let mut said = String::new();
    number.read_to_string(&mut said)?;
    nix::sys::wait::waitpid(between, None)?;
    let infra = match said.parse::<i32>() {
        Ok(pid) if pid > 0 => Init::new(pid),
        Ok(number) => return Err(io::Error::from_raw_os_error(-number)),
        Err(_) => return Err(io::Error::other("it was killed at its start")),
    };
    let mut said = String::new();
    ready.read_to_string(&mut said)?;
    match said.parse::<i32>() {
        Ok(0) => Ok(infra),
        Ok(number) => Err(io::Error::from_raw_os_error(number)),
        Err(_) => Err(io::Error::other("the process was killed at its start")),
    }
}

/// The network first: it may be somebody else's, whom the root of those users cannot enter.
fn enter(entering: Entering<'_>) -> io::Result<()> {
    if let Some(network) = entering.network {
        nix::sched::setns(network, nix::sched::CloneFlags::CLONE_NEWNET)?;
    }
    if let Some(users) = entering.users {
        nix::sched::setns(users, nix::sched::CloneFlags::CLONE_NEWUSER)?;
        // Its root, whoever we are there.
        nix::unistd::setresgid(0.into(), 0.into(), 0.into())?;
        nix::unistd::setresuid(0.into(), 0.into(), 0.into())?;
        // The change hides its namespaces from those who are root of these users only: the pod's
        // containers, on their way in.
        nix::sys::prctl::set_dumpable(true)?;
    }
    Ok(())
}

/// A child of our parent, in new namespaces; 0 in itself.
fn clone(flags: libc::c_int) -> io::Result<i32> {
    let flags = flags | libc::CLONE_PARENT;
    // SAFETY: without CLONE_VM and with a null stack this is fork(2) into new namespaces; this
    // process has one thread, so the child's memory is whole.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) };
    match i32::try_from(pid).unwrap_or(-1) {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// The child: says how it went, by a number of errno(3), and waits for its end.
fn hold(hostname: Option<&str>, mut done: io::PipeWriter) -> ! {
    let prepared = prepare(hostname, done.as_raw_fd());
    let number = prepared.as_ref().err().and_then(io::Error::raw_os_error);
    let _ = write!(done, "{}", number.unwrap_or(if prepared.is_ok() { 0 } else { libc::EIO }));
    drop(done);
    if prepared.is_err() {
        // SAFETY: ends this process without the exit handlers of the one it is a clone of.
        unsafe { libc::_exit(1) };
    }
    let all = SigSet::all();
    loop {
        match all.wait() {
            // SAFETY: as above.
            Ok(Signal::SIGTERM | Signal::SIGINT) => unsafe { libc::_exit(0) },
            Ok(Signal::SIGCHLD) => {
                while rustix::process::wait(WaitOptions::NOHANG).is_ok_and(|child| child.is_some())
                {
                }
            }
            _ => {}
        }
    }
}

fn prepare(hostname: Option<&str>, keep: i32) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let _ = nix::sys::prctl::set_name(c"pod-infra");
    // Taken one by one: the first process of a PID namespace gets no others.
    SigSet::all().thread_block()?;
    if let Some(hostname) = hostname {
        nix::unistd::sethostname(hostname)?;
    }
    // Nobody waits for descriptors that this process happens to have.
    // SAFETY: nothing in this process uses any descriptor but `keep` from here on.
    unsafe {
        libc::close_range(3, keep.unsigned_abs().saturating_sub(1), 0);
        libc::close_range(keep.unsigned_abs() + 1, libc::c_uint::MAX, 0);
    }
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}

impl Pod {
    /// The host name of its containers: where they share one, it is the infra's.
    pub(crate) fn hostname(&self) -> Option<&str> {
        let shared = self.share.has(Namespace::Uts);
        shared.then(|| self.network.hostname.as_deref().unwrap_or(&self.name))
    }
}
