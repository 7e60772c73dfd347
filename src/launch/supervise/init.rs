//! A process that this one started, and waits for.

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait, waitpid};

use crate::launch::Error;
use crate::launch::runtime::Bond;

/// The container's first process, our child: killed when dropped, unless it has been waited for.
#[derive(Debug)]
pub(crate) struct Init {
    pid: i32,
    ended: bool,
    /// What it ends with, besides this.
    _bond: Option<Bond>,
}

impl Init {
    /// `pid` was just started, by this process.
    pub(crate) fn new(pid: i32) -> Self {
        Self { pid, ended: false, _bond: None }
    }

    /// The same, which also ends where this process does.
    pub(crate) fn bound(mut self, bond: Option<Bond>) -> Self {
        self._bond = bond;
        self
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// To our own child, which we have not waited for: the number is still its own.
    pub(super) fn send(&self, signal: i32) {
        // SAFETY: plain kill(2); a number that is no signal is refused by the kernel.
        unsafe { libc::kill(self.pid, signal) };
    }

    /// Ends it, and what else is in its process group: the first of its session, which the program
    /// or its runtime has begun.
    pub(super) fn kill_group(&self) {
        // SAFETY: plain getpgid(2), getpgrp(2) and kill(2); the group is that of our own child.
        unsafe {
            let group = libc::getpgid(self.pid);
            if group > 1 && group != libc::getpgrp() {
                libc::kill(-group, libc::SIGKILL);
            }
        }
        self.send(libc::SIGKILL);
    }

    /// Waits, without stopping, for whatever child has ended; the container's own end is told.
    pub(super) fn reap(&mut self) -> Result<Option<u8>, Error> {
        self.reap_all(|_, _| {})
    }

    /// The same; `other` hears of every other child, with its exit status.
    pub(super) fn reap_all(&mut self, mut other: impl FnMut(i32, u8)) -> Result<Option<u8>, Error> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_pid() == self.pid => {
                    self.ended = true;
                    return Ok(Some(exit_status(status)));
                }
                Ok(Some((pid, status))) => other(pid.as_raw_pid(), exit_status(status)),
                Err(Errno::INTR) => {}
                Ok(None) => return Ok(None),
                Err(Errno::CHILD) => {
                    self.ended = true;
                    return Ok(Some(u8::MAX));
                }
                Err(error) => return Err(Error::system("wait for the container", error)),
            }
        }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if !self.ended {
            self.send(libc::SIGKILL);
            let _ = wait_for(self.pid);
        }
    }
}

/// Waits for one child; its exit status, 128 + N for signal N.
fn wait_for(pid: i32) -> Result<u8, Error> {
    loop {
        match waitpid(Pid::from_raw(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(exit_status(status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::system("wait for the command", error)),
        }
    }
}

/// 128 + N for signal N, a real-time one too.
fn exit_status(status: WaitStatus) -> u8 {
    let signal = || status.terminating_signal().map_or(0, |signal| signal.saturating_add(128));
    u8::try_from(status.exit_status().unwrap_or_else(signal)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_a_real_time_signal_has_its_number() {
        let script = format!("kill -{} $$", libc::SIGRTMIN() + 3);
        let mut child = std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let status = wait_for(child.id().cast_signed()).unwrap();
        assert!(child.wait().is_err(), "it has been waited for");
        assert_eq!(i32::from(status), 128 + libc::SIGRTMIN() + 3);
    }

    #[test]
    fn what_was_started_does_not_outlive_a_failure() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = crate::store::containers::Process::of(child.id().cast_signed()).unwrap();
        drop(Init::new(process.pid));
        assert!(!process.is_alive());
        assert!(child.wait().is_err(), "it has been waited for");
    }
}
