//! A process whose life is tied to ours. What libcontainer starts asks the kernel for its death with
//! its parent; an installed runtime's programs do not, and nobody can ask in their stead. So a
//! process of ours waits for our end, and sees to theirs.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::unistd::{ForkResult, fork};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::launch::Error;

/// The program does not outlive this, however this process ends.
#[derive(Debug)]
pub(crate) struct Bond {
    /// Its other end hears of our end.
    _ours: OwnedFd,
}

impl Bond {
    /// Ties a child of ours, which has not been waited for.
    pub(super) fn tie(pid: i32) -> Result<Self, Error> {
        let process = Pid::from_raw(pid)
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
            .map_err(|error| Error::system("watch the container's first process", error))?;
        let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| Error::system("make a pipe", error))?;
        // SAFETY: this process has one thread, so the child's memory is whole.
        match unsafe { fork() }.map_err(|error| Error::system("fork", error))? {
            ForkResult::Child => watch(&theirs, &process),
            ForkResult::Parent { .. } => Ok(Self { _ours: ours }),
        }
    }
}

/// Waits for the end of one of both. Nothing that the launcher had open is kept open here, and
/// nothing that is sent to all of a unit's processes, or to a process group, ends it before them.
fn watch(launcher: &OwnedFd, process: &OwnedFd) -> ! {
    let _ = nix::sys::signal::SigSet::all().thread_block();
    let _ = nix::unistd::setsid();
    let _ = nix::unistd::chdir("/");
    close_all_but([launcher.as_raw_fd(), process.as_raw_fd()]);
    loop {
        let mut polled = [launcher.as_fd(), process.as_fd()]
            .map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN));
        let _ = poll(&mut polled, None);
        let [launcher_ended, program_ended] = polled.map(|fd| !fd.revents().is_empty());
        if launcher_ended && !program_ended {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        if launcher_ended || program_ended {
            // SAFETY: ends this process without running what belongs to the launcher.
            unsafe { libc::_exit(0) };
        }
    }
}

fn close_all_but(mut kept: [RawFd; 2]) {
    kept.sort_unstable();
    let mut first = 0;
    for descriptor in kept.map(RawFd::unsigned_abs) {
        if first < descriptor {
            // SAFETY: closes descriptors that nothing in this process uses any more.
            unsafe { libc::close_range(first, descriptor - 1, 0) };
        }
        first = descriptor + 1;
    }
    // SAFETY: as above.
    unsafe { libc::close_range(first, libc::c_uint::MAX, 0) };
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_tied_ends_with_its_bond() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let bond = Bond::tie(child.id().cast_signed()).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        drop(bond);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn what_ends_first_is_no_more_watched() {
        let mut child = Command::new("true").spawn().unwrap();
        let bond = Bond::tie(child.id().cast_signed()).unwrap();
        assert!(child.wait().unwrap().success());
        drop(bond);
    }
}
