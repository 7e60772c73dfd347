//! Waiting for a container: its output, its words to systemd, the signals that come for it.

mod attend;
mod health;
mod init;
mod network;
pub(crate) mod input;
pub(crate) mod interruption;
pub(crate) mod journal;
mod memory;
pub(crate) mod notify;
pub(crate) mod output;
pub(crate) mod signal;
mod signals;
pub(crate) mod sink;
pub(crate) mod traffic;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::launch::Error;
use crate::launch::control::protocol::Request;
use crate::launch::control::server::Control;
use crate::launch::network::pasta::Pasta;
use crate::launch::supervise::notify::{Notifier, Proxy};
use crate::launch::supervise::traffic::{Traffic, Turn};
use crate::store::containers::{Record, Records};

pub(crate) use attend::{attend, attend_check, attend_pod};
pub(crate) use health::{Duties, HealthDuty};
pub(crate) use init::Init;
pub(crate) use signals::{ENDING, Signals, end_by};

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
    pub(crate) init: Init,
    pub(crate) stop: Stop,
    pub(crate) signals: &'a mut Signals,
    pub(crate) traffic: Traffic<'a>,
    pub(crate) notifier: &'a Notifier,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) records: &'a Records,
    /// Ours to write.
    pub(crate) record: &'a mut Record,
    /// Its checks, and what is to follow from them.
    pub(crate) health: Option<HealthDuty>,
    /// The container's own cgroup: one that is frozen has to go on, to be stopped.
    pub(crate) cgroup: Option<PathBuf>,
    /// When it is killed, if it still runs.
    pub(crate) until: Option<Instant>,
    /// Who carries its network, where that is a program.
    pub(crate) network: Option<&'a mut Pasta>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// 128 + N for signal N.
    pub(crate) status: u8,
    pub(crate) wish: Wish,
}

impl End {
    /// Who was ended as one that failed has failed, whatever it says itself.
    fn new(status: u8, wish: Wish) -> Self {
        match wish {
            Wish::Fail => Self { status: status.max(1), wish: Wish::None },
            wish => Self { status, wish },
        }
    }
}

/// What was asked for while it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    None,
    Stop,
    Restart,
    /// To end it, as one that has failed.
    Fail,
}

/// The container was asked to stop.
#[derive(Debug, Clone, Copy)]
struct Stopping {
    wish: Wish,
    kill_at: Instant,
    killed: bool,
}

/// What there is to do.
#[derive(Debug, Clone, Copy)]
enum Event {
    Signal,
    Traffic(Turn),
    Notification,
    Health,
}

impl Supervisor<'_> {
    /// Waits for the container's end.
    pub(crate) fn wait(mut self) -> Result<End, Error> {
        let mut stopping = None;
        let mut has_waited = false;
        loop {
            while let Some(signal) = self.signals.next() {
                self.handle(signal, &mut stopping);
            }
            // What ended before the signals were looked at is found here.
            let mut others = Vec::new();
            if let Some(status) = self.init.reap_all(|pid, status| others.push((pid, status)))? {
                self.finish(stopping.is_some());
                return Ok(End::new(status, stopping.map_or(Wish::None, |stopping| stopping.wish)));
            }
            self.look_after_health(&others, &mut stopping);
            self.look_after_network(&others, &mut stopping);
            if !std::mem::replace(&mut has_waited, true) {
                memory::give_back();
            }
            for event in poll_until(self.sources(), self.deadline(stopping))? {
                match event {
                    Event::Signal => {}
                    Event::Notification => self.forward(),
                    Event::Health => self.hear_check(),
                    Event::Traffic(turn) => {
                        if let Some(request) = self.traffic.take(turn) {
                            self.carry_out(&request, &mut stopping);
                        }
                    }
                }
            }
            self.traffic.tidy();
            if let Some(stop) = &mut stopping
                && !stop.killed
                && stop.kill_at <= Instant::now()
            {
                self.init.send(libc::SIGKILL);
                stop.killed = true;
            }
            if self.until.is_some_and(|until| until <= Instant::now()) {
                self.init.send(libc::SIGKILL);
                self.until = None;
            }
        }
    }

    /// When there is something to do by itself.
    fn deadline(&self, stopping: Option<Stopping>) -> Option<Instant> {
        let kill_at = stopping.filter(|stop| !stop.killed).map(|stop| stop.kill_at);
        let check = self.health.as_ref().and_then(HealthDuty::deadline);
        let all = kill_at.into_iter().chain(self.traffic.deadline());
        let network = self.network.as_ref().filter(|_| stopping.is_none());
        let network = network.and_then(|pasta| pasta.due());
        all.chain(check).chain(self.until).chain(network).min()
    }

    fn handle(&self, signal: i32, stopping: &mut Option<Stopping>) {
        match signal {
            libc::SIGCHLD | libc::SIGURG => {}
            libc::SIGTERM => self.begin_to_stop(Wish::Stop, None, stopping),
            other => self.init.send(other),
        }
    }

    fn carry_out(&mut self, request: &Request, stopping: &mut Option<Stopping>) {
        match request {
            Request::Stop(seconds) => self.begin_to_stop(Wish::Stop, *seconds, stopping),
            Request::Restart(seconds) => self.begin_to_stop(Wish::Restart, *seconds, stopping),
            Request::Signal(number) => self.handle((*number).into(), stopping),
            Request::Name(name) => {
                self.record.name.clone_from(name);
                let written = self.records.write(self.record).is_ok();
                self.traffic.control.done(written);
            }
            Request::Check => self.check_health(stopping),
            // Heard, and answered later; what goes in and out is carried already.
            _ => {}
        }
    }

    /// The container's signal, and SIGKILL after a while. A second time does not put the end off.
    fn begin_to_stop(&self, wish: Wish, seconds: Option<u32>, stopping: &mut Option<Stopping>) {
        if wish == Wish::Stop {
            self.notifier.send("STOPPING=1");
        }
        self.init.send(self.stop.signal);
        if let Some(cgroup) = &self.cgroup {
            // One that is not there is not frozen, ignoring.
            let _ = std::fs::write(cgroup.join("cgroup.freeze"), "0");
        }
        let timeout =
            seconds.map_or(self.stop.timeout, |seconds| Duration::from_secs(seconds.into()));
        let asked = Stopping { wish, kill_at: Instant::now() + timeout, killed: false };
        let stop = stopping.get_or_insert(asked);
        stop.kill_at = stop.kill_at.min(asked.kill_at);
        if wish == Wish::Stop {
            stop.wish = wish;
        }
    }

    fn forward(&mut self) {
        if let Some(proxy) = &mut self.proxy {
            proxy.forward(self.notifier);
        }
    }

    fn sources(&self) -> Vec<(Event, PollFd<'_>)> {
        let mut sources = vec![(Event::Signal, self.signals.source())];
        let traffic = self.traffic.sources().into_iter();
        sources.extend(traffic.map(|(turn, fd)| (Event::Traffic(turn), fd)));
        if let Some(fd) = self.health.as_ref().and_then(HealthDuty::waiting) {
            sources.push((Event::Health, PollFd::from_borrowed_fd(fd, PollFlags::IN)));
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
        let patience = if stopping { Some(PATIENCE_OF_STOP) } else { self.traffic.patience() };
        self.traffic.finish(self.signals, patience);
    }
}

/// Between two runs of a container: waits so long; whether it is still to be started then.
pub(crate) fn pause(
    delay: Duration,
    signals: &mut Signals,
    control: &mut Control,
) -> Result<bool, Error> {
    let until = Instant::now() + delay;
    while Instant::now() < until {
        if signals.check().is_err() {
            return Ok(false);
        }
        let mut sources = vec![(None, signals.source())];
        for (turn, fd, flags) in control.waiting(false) {
            sources.push((Some(turn), PollFd::from_borrowed_fd(fd, flags)));
        }
        for turn in poll_until(sources, Some(until))?.into_iter().flatten() {
            match control.take(turn) {
                Some(Request::Stop(_)) => return Ok(false),
                Some(Request::Restart(_)) => return Ok(true),
                // To be asked again when it runs.
                Some(Request::Name(_)) => control.done(false),
                _ => {}
            }
        }
        control.tidy();
    }
    Ok(true)
}

/// Tells who asked of the end, as the last word: waits for those who have not taken all that was
/// said before, for a while.
///
/// # Errors
/// Where it cannot be waited.
pub(crate) fn part(control: &mut Control, status: u8) -> Result<(), Error> {
    control.ended(status);
    let until = Instant::now() + PATIENCE_OF_END;
    while control.is_full() && Instant::now() < until {
        let waiting = control.waiting(true).filter(|(turn, ..)| turn.is_write());
        let sources = waiting.map(|(turn, fd, flags)| (turn, PollFd::from_borrowed_fd(fd, flags)));
        let next = control.deadline().into_iter().chain([until]).min();
        for turn in poll_until(sources.collect(), next)? {
            control.take(turn);
        }
        control.tidy();
    }
    Ok(())
}

/// How long whoever has yet to hear of the end may take.
const PATIENCE_OF_END: Duration = Duration::from_secs(10);

/// How long a destination may take for the rest of the output, once the container has to end.
const PATIENCE_OF_STOP: Duration = Duration::from_secs(2);

/// Waits for one of `sources`, at most until then; those that are ready.
pub(crate) fn poll_until<E>(
    sources: Vec<(E, PollFd<'_>)>,
    until: Option<Instant>,
) -> Result<Vec<E>, Error> {
    let (events, mut polled): (Vec<E>, Vec<PollFd<'_>>) = sources.into_iter().unzip();
    let left = until.map(|at| at.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| rustix::time::Timespec::try_from(left).ok());
    match poll(&mut polled, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(Error::system("wait for the container", error)),
    }
    let both = events.into_iter().zip(polled);
    Ok(both.filter(|(_, fd)| !fd.revents().is_empty()).map(|(event, _)| event).collect())
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::launch::control::connection::Connection;

    #[test]
    fn who_is_slow_hears_of_the_end_all_the_same() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let mut control = Control::closed();
        control.adopt(ours);
        while !control.is_full() {
            control.carry(false, &[b'x'; 1024]);
        }
        let slow = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            Connection::from(theirs).end().unwrap()
        });
        part(&mut control, 7).unwrap();
        drop(control);
        assert_eq!(slow.join().unwrap(), Some(7));
    }
}
