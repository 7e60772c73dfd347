//! Waiting for a container: its output, its words to systemd, the signals that come for it.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

use super::Error;
use super::notify::{Notifier, Proxy};
use super::output::Output;

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
    fn next(&mut self) -> Option<i32> {
        self.held.pop_front().or_else(|| self.read())
    }

    fn read(&mut self) -> Option<i32> {
        let signal = self.fd.read_signal().ok().flatten()?;
        i32::try_from(signal.ssi_signo).ok()
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
const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Ends this process as the signal would have, had it not been taken over.
pub(crate) fn end_by(signal: i32) {
    // SAFETY: the default action of a signal that has it by now; this process is at its end.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let _ = SigSet::empty().thread_set_mask();
    // SAFETY: as above.
    unsafe { libc::raise(signal) };
}

/// How the container is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    pub(crate) signal: i32,
    /// Until SIGKILL.
    pub(crate) timeout: Duration,
}

/// The container's first process, our child: killed when dropped, unless it has been waited for.
#[derive(Debug)]
pub(crate) struct Init {
    pid: i32,
    ended: bool,
}

impl Init {
    /// `pid` was just started, by this process.
    pub(crate) fn new(pid: i32) -> Self {
        Self { pid, ended: false }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// To our own child, which we have not waited for: the number is still its own.
    fn send(&self, signal: i32) {
        // SAFETY: plain kill(2); a number that is no signal is refused by the kernel.
        unsafe { libc::kill(self.pid, signal) };
    }

    /// Waits, without stopping, for whatever child has ended; the container's own end is told.
    fn reap(&mut self) -> Result<Option<u8>, Error> {
        loop {
            match waitpid(None, WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_pid() == self.pid => {
                    self.ended = true;
                    return Ok(Some(exit_status(status)));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
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

/// A container that runs.
#[derive(Debug)]
pub(crate) struct Supervisor<'a> {
    pub(crate) init: Init,
    pub(crate) stop: Stop,
    pub(crate) signals: Signals,
    pub(crate) output: Output,
    pub(crate) notifier: &'a Notifier,
    pub(crate) proxy: Option<Proxy>,
}

impl Supervisor<'_> {
    /// Waits for the container's end; its exit status, 128 + N for signal N.
    pub(crate) fn wait(mut self) -> Result<u8, Error> {
        let mut kill_at = None;
        loop {
            while let Some(signal) = self.signals.next() {
                self.handle(signal, &mut kill_at);
            }
            // What ended before the signals were looked at is found here.
            if let Some(status) = self.init.reap()? {
                self.output.drain();
                return Ok(status);
            }
            let ready = self.poll(kill_at)?;
            if kill_at.is_some_and(|at| at <= Instant::now()) {
                self.init.send(libc::SIGKILL);
                kill_at = None;
            }
            ready.streams.into_iter().for_each(|index| self.output.pump(index));
            if ready.proxy
                && let Some(proxy) = &self.proxy
            {
                proxy.forward(self.notifier);
            }
        }
    }

    fn handle(&self, signal: i32, kill_at: &mut Option<Instant>) {
        match signal {
            libc::SIGCHLD | libc::SIGURG => {}
            libc::SIGTERM => {
                self.notifier.send("STOPPING=1");
                self.init.send(self.stop.signal);
                // A second TERM does not put the end off.
                kill_at.get_or_insert_with(|| Instant::now() + self.stop.timeout);
            }
            other => self.init.send(other),
        }
    }

    fn poll(&self, kill_at: Option<Instant>) -> Result<Ready, Error> {
        let streams: Vec<_> = self.output.waiting().collect();
        let mut polled = vec![PollFd::from_borrowed_fd(self.signals.fd.as_fd(), PollFlags::IN)];
        polled.extend(streams.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        if let Some(proxy) = &self.proxy {
            polled.push(PollFd::from_borrowed_fd(proxy.as_fd(), PollFlags::IN));
        }
        let left = kill_at.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| rustix::time::Timespec::try_from(left).ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::system("wait for the container", error)),
        }
        let is_ready = |index: usize| polled.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let ready = streams.iter().enumerate().filter(|(at, _)| is_ready(at + 1));
        Ok(Ready {
            streams: ready.map(|(_, (index, _))| *index).collect(),
            proxy: self.proxy.is_some() && is_ready(streams.len() + 1),
        })
    }
}

struct Ready {
    streams: Vec<usize>,
    proxy: bool,
}

/// Waits for one child; its exit status, 128 + N for signal N.
pub(crate) fn wait_for(pid: i32) -> Result<u8, Error> {
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
        let child = std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let status = wait_for(child.id().cast_signed()).unwrap();
        assert_eq!(i32::from(status), 128 + libc::SIGRTMIN() + 3);
    }

    #[test]
    fn what_was_started_does_not_outlive_a_failure() {
        let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = crate::store::containers::Process::of(child.id().cast_signed()).unwrap();
        drop(Init::new(process.pid));
        assert!(!process.is_alive());
    }

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
