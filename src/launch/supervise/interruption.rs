//! Signals that end a command which has something to clear away first: a pull.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::launch::Error;

/// Those that ask for an end. SIGQUIT is left alone: who cannot wait has it.
const ASKING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// From here to its drop such a signal is something to read, in this thread and in those that it
/// starts; then again what it was before.
#[derive(Debug)]
pub(crate) struct Interruption {
    fd: SignalFd,
    before: SigSet,
}

impl Interruption {
    pub(crate) fn take() -> Result<Self, Error> {
        let failed = |error: nix::Error| Error::system("take over signals", error);
        let set: SigSet = ASKING.into_iter().filter(|signal| !is_ignored(*signal)).collect();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).map_err(failed)?;
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(failed)?;
        Ok(Self { fd, before })
    }

    /// The signal that came.
    pub(crate) fn came(&self) -> Option<Signal> {
        let signal = self.fd.read_signal().ok().flatten()?;
        Signal::try_from(signal.ssi_signo.cast_signed()).ok()
    }
}

impl AsFd for Interruption {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// As nohup(1) leaves SIGHUP; the kernel keeps a blocked signal even so.
fn is_ignored(signal: Signal) -> bool {
    // SAFETY: all fields of sigaction are numbers or may be null, for which zero is a value.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is changed, and `now` is of the type that sigaction(2) writes.
    let asked = unsafe { libc::sigaction(signal as i32, std::ptr::null(), &mut now) };
    asked == 0 && now.sa_sigaction == libc::SIG_IGN
}
