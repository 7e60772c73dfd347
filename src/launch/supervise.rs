//! Waiting for a container: its output, its words to systemd, the signals that come for it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};

use super::Error;
use super::notify::{Notifier, Proxy};
use super::output::Output;

/// Signals that are passed on to the container. TERM becomes its stop signal.
const FORWARDED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// From before the container starts: no signal is lost in between.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Takes over the signals, and becomes the parent of what a container's processes leave.
    pub(crate) fn take() -> Result<Self, Error> {
        let mut set = SigSet::empty();
        FORWARDED.iter().for_each(|signal| set.add(*signal));
        set.add(Signal::SIGCHLD);
        let failed = |error: nix::Error| Error::system("take over signals", error);
        set.thread_block().map_err(failed)?;
        nix::sys::prctl::set_child_subreaper(true).map_err(failed)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).map(Self).map_err(failed)
    }
}

/// How the container is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    pub(crate) signal: i32,
    /// Until SIGKILL.
    pub(crate) timeout: Duration,
}

/// A container that runs.
#[derive(Debug)]
pub(crate) struct Supervisor<'a> {
    pub(crate) init: i32,
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
            // What ended before the signals were looked at is found here.
            if let Some(status) = reap(self.init)? {
                self.output.drain();
                return Ok(status);
            }
            let ready = self.poll(kill_at)?;
            if kill_at.is_some_and(|at| at <= Instant::now()) {
                self.send(libc::SIGKILL);
                kill_at = None;
            }
            ready.streams.into_iter().for_each(|index| self.output.pump(index));
            if ready.proxy
                && let Some(proxy) = &self.proxy
            {
                proxy.forward(self.notifier);
            }
            while let Ok(Some(signal)) = self.signals.0.read_signal() {
                self.handle(i32::try_from(signal.ssi_signo).unwrap_or(0), &mut kill_at);
            }
        }
    }

    fn handle(&self, signal: i32, kill_at: &mut Option<Instant>) {
        match signal {
            libc::SIGCHLD => {}
            libc::SIGTERM => {
                self.notifier.send("STOPPING=1");
                self.send(self.stop.signal);
                // A second TERM does not put the end off.
                kill_at.get_or_insert_with(|| Instant::now() + self.stop.timeout);
            }
            other => self.send(other),
        }
    }

    /// To our own child, which we have not waited for: the number is still its own.
    fn send(&self, signal: i32) {
        // SAFETY: plain kill(2); a number that is no signal is refused by the kernel.
        unsafe { libc::kill(self.init, signal) };
    }

    fn poll(&self, kill_at: Option<Instant>) -> Result<Ready, Error> {
        let streams: Vec<_> = self.output.waiting().collect();
        let mut polled = vec![PollFd::from_borrowed_fd(self.signals.0.as_fd(), PollFlags::IN)];
        polled.extend(streams.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        if let Some(proxy) = &self.proxy {
            polled.push(PollFd::from_borrowed_fd(proxy.as_fd(), PollFlags::IN));
        }
        let left = kill_at.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| rustix::time::Timespec::try_from(left).ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
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

/// Waits, without stopping, for whatever child has ended; the container's own end is told.
fn reap(init: i32) -> Result<Option<u8>, Error> {
    let mut status = None;
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == init => {
                status = Some(u8::try_from(code).unwrap_or(u8::MAX));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == init => {
                status = Some(128u8.saturating_add(u8::try_from(signal as i32).unwrap_or(127)));
            }
            Ok(WaitStatus::StillAlive) => return Ok(status),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(nix::Error::ECHILD) => return Ok(status.or(Some(u8::MAX))),
            Err(error) => return Err(Error::system("wait for the container", error)),
        }
    }
}

/// Waits for one child; its exit status, 128 + N for signal N.
pub(crate) fn wait_for(pid: i32) -> Result<u8, Error> {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Ok(128u8.saturating_add(u8::try_from(signal as i32).unwrap_or(127)));
            }
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Error::system("wait for the command", error)),
        }
    }
}
