//! The health of one container while it runs: when it is checked, by which process, and what is
//! written down of it.
//!
//! Architecture invariant: nothing here ever blocks. A check is a child process; its output, its end
//! and its time are waited for in the supervisor's one place.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::plan::Plan;
use super::state::{Change, Stage, State};
use crate::launch::place::Place;
use crate::model::failure::chain;
use crate::model::{ContainerId, HealthState};
use crate::store::containers::Records;
use crate::store::health::{Checked, Health};

/// So many results are kept, and so much of what each said, in bytes (podman-run(1),
/// `--health-max-log-count`, `--health-max-log-size`).
const KEPT: usize = 5;
const OUTPUT: usize = 500;
/// The exit status of a check that took too long, where Podman has this one.
const TIMED_OUT: i32 = -1;
/// How long a check that was told to end may take, before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Checks one container.
#[derive(Debug)]
pub(crate) struct Monitor {
    plan: Plan,
    state: State,
    id: ContainerId,
    records: Records,
    /// What a check is called with, before its command.
    call: Vec<OsString>,
    started: Instant,
    /// When the next check is due; `None` for never, and while one runs.
    next: Option<Instant>,
    running: Option<Running>,
    log: VecDeque<Checked>,
    stopped: bool,
}

/// A check that runs.
#[derive(Debug)]
struct Running {
    child: i32,
    /// `None` after its end.
    output: Option<PipeReader>,
    text: Vec<u8>,
    since: Instant,
    start: Timestamp,
    /// When it is told to end, then killed, then given up.
    deadline: Option<Instant>,
    timed_out: bool,
    /// Whether it has been waited for: its number is nobody's then.
    ended: bool,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: bool,
    pub(crate) change: Change,
}

impl Monitor {
    /// For a container that is about to be started.
    pub(crate) fn new(place: &Place, id: &ContainerId, plan: Plan) -> Self {
        let mut call: Vec<OsString> = Vec::new();
        for (flag, directory) in place.flags() {
            call.extend([flag.into(), directory.into()]);
        }
        call.extend(["healthcheck", "probe", id.as_str()].map(OsString::from));
        let monitor = Self {
            state: State::new(plan.rules()),
            plan,
            id: id.clone(),
            records: place.records(),
            call,
            started: Instant::now(),
            next: None,
            running: None,
            log: VecDeque::new(),
            stopped: false,
        };
        monitor.write();
        monitor
    }

    /// The container runs: the first check is due.
    pub(crate) fn begin(&mut self) {
        self.started = Instant::now();
        self.next = self.interval().map(|_| self.started);
    }

    /// When there is something to do by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.running.as_ref().map_or(self.next, |running| running.deadline)
    }

    /// What to wait for before [`Monitor::read`] has something to do.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        Some(self.running.as_ref()?.output.as_ref()?.as_fd())
    }

    /// Takes in what the check that runs says.
    pub(crate) fn read(&mut self) {
        if let Some(running) = &mut self.running {
            running.read();
        }
    }

    /// Does what is due by now: a check is begun, or told to end. The result of one that could not
    /// even be begun.
    pub(crate) fn on_time(&mut self) -> Option<Outcome> {
        let now = Instant::now();
        match &mut self.running {
            Some(running) => {
                running.on_time(now);
                None
            }
            None if self.next.is_some_and(|next| next <= now) => self.check(),
            None => None,
        }
    }

    /// Begins a check now, unless one runs already.
    pub(crate) fn check(&mut self) -> Option<Outcome> {
        if self.running.is_some() || self.stopped {
            return None;
        }
        self.next = None;
        let (words, timeout) = match (self.state.stage(), &self.plan.startup) {
            (Stage::Startup { .. }, Some(startup)) => (&startup.words, startup.timeout),
            _ => (&self.plan.check.words, self.plan.check.timeout),
        };
        let start = Timestamp::now();
        match Running::spawn(&self.call, words, timeout) {
            Ok(running) => {
                self.running = Some(running);
                None
            }
            Err(error) => {
                let output = format!("cannot start the check: {error}");
                let checked = Checked { start, end: start, exit_code: 125, output };
                Some(self.finish(checked, Instant::now()))
            }
        }
    }

    /// A child of this process has ended: where it was the check that runs, its result.
    pub(crate) fn ended(&mut self, child: i32, status: u8) -> Option<Outcome> {
        let mut running = self.running.take_if(|running| running.child == child)?;
        running.ended = true;
        running.read();
        if self.stopped {
            return None;
        }
        let exit_code = if running.timed_out { TIMED_OUT } else { status.into() };
        let output = match running.timed_out {
            true => "the check took too long".to_owned(),
            false => String::from_utf8_lossy(&running.text).into_owned(),
        };
        let checked = Checked { start: running.start, end: Timestamp::now(), exit_code, output };
        Some(self.finish(checked, running.since))
    }

    /// No more checks: the container is to end.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.next = None;
        if let Some(running) = &mut self.running {
            running.end();
        }
    }

    pub(crate) fn status(&self) -> HealthState {
        self.state.status()
    }

    /// For people: what is known of its health.
    pub(crate) fn describe(&self) -> String {
        let last = self.log.back().map(|checked| (checked.exit_code, checked.output.trim()));
        match (self.status(), last) {
            (HealthState::Unhealthy, Some((code, output))) => {
                let failed = match self.state.failing_streak() {
                    0 => "its startup failed".to_owned(),
                    1 => "a check failed".to_owned(),
                    streak => format!("{streak} checks failed in a row"),
                };
                format!("unhealthy: {failed}, the last with exit status {code}: {output:?}")
            }
            (status, _) => status.to_string(),
        }
    }

    fn finish(&mut self, checked: Checked, since: Instant) -> Outcome {
        let passed = checked.exit_code == 0;
        let in_start_period =
            since.saturating_duration_since(self.started) < self.plan.check.start_period;
        let change = self.state.take(passed, in_start_period);
        self.log.push_back(checked);
        while self.log.len() > KEPT {
            self.log.pop_front();
        }
        self.write();
        let pause = match change {
            Change::Started => self.plan.check.interval.map(|_| Duration::ZERO),
            _ => self.interval(),
        };
        self.next = pause.and_then(|pause| Instant::now().checked_add(pause));
        Outcome { passed, change }
    }

    /// The time to the next check; `None` for never.
    fn interval(&self) -> Option<Duration> {
        if let (Stage::Startup { .. }, Some(startup)) = (self.state.stage(), &self.plan.startup) {
            return startup.interval;
        }
        let check = &self.plan.check;
        let is_starting =
            self.status() == HealthState::Starting && self.started.elapsed() < check.start_period;
        check.start_interval.filter(|_| is_starting).or(check.interval)
    }

    /// Who reads it may come too late for one that cannot be written: it is said, and goes on.
    fn write(&self) {
        let health = Health {
            status: self.status(),
            failing_streak: self.state.failing_streak(),
            log: self.log.iter().cloned().collect(),
            patience: self.plan.patience().as_secs(),
        };
        if let Err(error) = self.records.write_health(&self.id, &health) {
            eprintln!("Warning: {}, ignoring", chain(&error));
        }
    }
}

impl Running {
    /// This program again, which enters the container; this process stays as it is.
    fn spawn(call: &[OsString], words: &[String], timeout: Duration) -> std::io::Result<Self> {
        let (output, inside) = std::io::pipe()?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let child = Command::new("/proc/self/exe")
            .args(call)
            .arg("--")
            .args(words)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(inside.try_clone()?)
            .stderr(inside)
            .spawn()?;
        let since = Instant::now();
        Ok(Self {
            child: child.id().cast_signed(),
            output: Some(output),
            text: Vec::new(),
            since,
            start: Timestamp::now(),
            deadline: since.checked_add(timeout),
            timed_out: false,
            ended: false,
        })
    }

    /// What is more than is kept is read all the same: nobody is to wait for room in a pipe.
    fn read(&mut self) {
        let Some(output) = &mut self.output else { return };
        let mut buffer = [0u8; 4096];
        // A check that talks without end has its turn again later.
        for _ in 0..16 {
            match output.read(&mut buffer) {
                Ok(0) => {
                    self.output = None;
                    return;
                }
                Ok(length) => {
                    let room = OUTPUT.saturating_sub(self.text.len()).min(length);
                    self.text.extend_from_slice(&buffer[..room]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn on_time(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.timed_out {
            self.deadline = None;
            self.send(libc::SIGKILL);
        } else {
            self.timed_out = true;
            self.end();
        }
    }

    /// Asks for its end: it takes its command along.
    fn end(&mut self) {
        self.send(libc::SIGTERM);
        self.deadline = Instant::now().checked_add(GRACE);
    }

    /// To our own child, which we have not waited for: the number is still its own.
    fn send(&self, signal: i32) {
        // SAFETY: plain kill(2).
        unsafe { libc::kill(self.child, signal) };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.send(libc::SIGTERM);
        }
    }
}
