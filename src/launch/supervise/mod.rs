//! Waiting for a container: its output, its words to systemd, the signals that come for it.

pub(crate) mod journal;
pub(crate) mod notify;
pub(crate) mod output;
pub(crate) mod signal;
pub(crate) mod sink;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait, waitpid};

use crate::launch::Error;
use crate::launch::supervise::notify::{Notifier, Proxy};
use crate::launch::supervise::output::{Output, Turn};

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

    fn source(&self) -> (Event, PollFd<'_>) {
        (Event::Signal, PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN))
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
            match wait(WaitOptions::NOHANG) {
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

/// The container was asked to stop.
#[derive(Debug, Clone, Copy)]
struct Stopping {
    kill_at: Instant,
    killed: bool,
}

/// What there is to do.
#[derive(Debug, Clone, Copy)]
enum Event {
    Signal,
    Output(Turn),
    Notification,
}

impl Supervisor<'_> {
    /// Waits for the container's end; its exit status, 128 + N for signal N.
    pub(crate) fn wait(mut self) -> Result<u8, Error> {
        let mut stopping = None;
        loop {
            while let Some(signal) = self.signals.next() {
                self.handle(signal, &mut stopping);
            }
            // What ended before the signals were looked at is found here.
            if let Some(status) = self.init.reap()? {
                self.finish(stopping.is_some());
                return Ok(status);
            }
            let kill_at = stopping.filter(|stop| !stop.killed).map(|stop| stop.kill_at);
            for event in poll_until(self.sources(), kill_at)? {
                match event {
                    Event::Signal => {}
                    Event::Output(turn) => self.output.take(turn),
                    Event::Notification => self.forward(),
                }
            }
            if let Some(stop) = &mut stopping
                && !stop.killed
                && stop.kill_at <= Instant::now()
            {
                self.init.send(libc::SIGKILL);
                stop.killed = true;
            }
        }
    }

    fn handle(&self, signal: i32, stopping: &mut Option<Stopping>) {
        match signal {
            libc::SIGCHLD | libc::SIGURG => {}
            libc::SIGTERM => {
                self.notifier.send("STOPPING=1");
                self.init.send(self.stop.signal);
                // A second TERM does not put the end off.
                let kill_at = Instant::now() + self.stop.timeout;
                stopping.get_or_insert(Stopping { kill_at, killed: false });
            }
            other => self.init.send(other),
        }
    }

    fn forward(&mut self) {
        if let Some(proxy) = &mut self.proxy {
            proxy.forward(self.notifier);
        }
    }

    fn sources(&self) -> Vec<(Event, PollFd<'_>)> {
        let mut sources = vec![self.signals.source()];
        for (turn, fd, flags) in self.output.waiting() {
            sources.push((Event::Output(turn), PollFd::from_borrowed_fd(fd, flags)));
        }
        if let Some(proxy) = &self.proxy {
            let (fd, flags) = proxy.waiting(self.notifier);
            sources.push((Event::Notification, PollFd::from_borrowed_fd(fd, flags)));
        }
        sources
    }

    /// What the container said last is still passed on. A reader of our own output may take its
    /// time, until we are told to end; the journal, or a stop, has some.
    fn finish(&mut self, stopping: bool) {
        self.forward();
        let patience = if stopping { Some(PATIENCE_OF_STOP) } else { self.output.patience() };
        let until = patience.map(|patience| Instant::now() + patience);
        while !self.output.drain() && until.is_none_or(|until| Instant::now() < until) {
            self.proxy = None;
            if self.signals.check().is_err() || poll_until(self.sources(), until).is_err() {
                break;
            }
        }
        self.output.close();
    }
}

/// How long a command that was told to end may take, before SIGKILL.
const PATIENCE_OF_EXEC: Duration = Duration::from_secs(10);

/// Waits for a command in a container, and passes on what signals come; its exit status as that of
/// [`Supervisor::wait`]. Who ends us ends the command.
pub(crate) fn attend(mut command: Init, mut signals: Signals) -> Result<u8, Error> {
    let mut kill_at: Option<Instant> = None;
    loop {
        while let Some(signal) = signals.next() {
            if matches!(signal, libc::SIGTERM | libc::SIGHUP) {
                kill_at.get_or_insert_with(|| Instant::now() + PATIENCE_OF_EXEC);
            }
            if !matches!(signal, libc::SIGCHLD | libc::SIGURG) {
                command.send(signal);
            }
        }
        if let Some(status) = command.reap()? {
            return Ok(status);
        }
        if kill_at.is_some_and(|at| at <= Instant::now()) {
            command.send(libc::SIGKILL);
        }
        poll_until(vec![signals.source()], kill_at.filter(|at| *at > Instant::now()))?;
    }
}

/// How long a destination may take for the rest of the output, once the container has to end.
const PATIENCE_OF_STOP: Duration = Duration::from_secs(2);

/// Waits for one of `sources`, at most until then; those that are ready.
fn poll_until(
    sources: Vec<(Event, PollFd<'_>)>,
    until: Option<Instant>,
) -> Result<Vec<Event>, Error> {
    let (events, mut polled): (Vec<Event>, Vec<PollFd<'_>>) = sources.into_iter().unzip();
    let left = until.map(|at| at.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| rustix::time::Timespec::try_from(left).ok());
    match poll(&mut polled, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(Error::system("wait for the container", error)),
    }
    let both = events.into_iter().zip(polled);
    Ok(both.filter(|(_, fd)| !fd.revents().is_empty()).map(|(event, _)| event).collect())
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
