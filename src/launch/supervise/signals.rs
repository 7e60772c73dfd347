//! The signals that come for this process, taken over as something to read.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};

use crate::launch::Error;

/// All signals but those that tell of a fault in this program itself.
fn taken() -> SigSet {
    let mut set = SigSet::all();
    for fault in [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGILL,
        Signal::SIGFPE,
        Signal::SIGTRAP,
        Signal::SIGABRT,
        Signal::SIGSYS,
        Signal::SIGPIPE,
    ] {
        set.remove(fault);
    }
    set
}

/// From before the container's name is taken: no signal is lost in between, none ends us before
/// what was begun is cleared away.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    /// Read already, not handled yet.
    held: VecDeque<i32>,
}

impl Signals {
    /// Takes over the signals, and becomes the parent of what a container's processes leave.
    pub(crate) fn take() -> Result<Self, Error> {
        let set = taken();
        let failed = |error: nix::Error| Error::system("take over signals", error);
        set.thread_block().map_err(failed)?;
        nix::sys::prctl::set_child_subreaper(true).map_err(failed)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).map_err(failed)?;
        Ok(Self { fd, held: VecDeque::new() })
    }

    /// The next signal that came, by its number: real-time signals have no name.
    pub(crate) fn next(&mut self) -> Option<i32> {
        self.held.pop_front().or_else(|| self.read())
    }

    fn read(&mut self) -> Option<i32> {
        let signal = self.fd.read_signal().ok().flatten()?;
        i32::try_from(signal.ssi_signo).ok()
    }

    pub(crate) fn source(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN)
    }

    /// Before the container runs: whether it is not to run any more.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        while let Some(signal) = self.read() {
            if ENDING.contains(&signal) {
                return Err(Error::Interrupted { signal });
            }
            self.held.push_back(signal);
        }
        Ok(())
    }
}

/// Who gets one of these before there is a container ends.
pub(crate) const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Ends this process as the signal would have, had it not been taken over.
pub(crate) fn end_by(signal: i32) {
    // SAFETY: the default action of a signal that has it by now; this process is at its end.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let _ = SigSet::empty().thread_set_mask();
    // SAFETY: as above.
    unsafe { libc::raise(signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_mean_a_fault_of_ours_are_left_alone() {
        let taken = taken();
        for signal in [Signal::SIGTERM, Signal::SIGALRM, Signal::SIGCHLD, Signal::SIGIO] {
            assert!(taken.contains(signal), "{signal}");
        }
        for signal in [Signal::SIGSEGV, Signal::SIGABRT, Signal::SIGPIPE] {
            assert!(!taken.contains(signal), "{signal}");
        }
    }
}
