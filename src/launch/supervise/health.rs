//! What a supervisor does with the health of its container.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::launch::args::{OnFailure, SdNotify};
use crate::launch::health::monitor::{Monitor, Outcome};
use crate::launch::health::state::Change;
use crate::launch::supervise::{Stopping, Supervisor, Wish};

/// The checks of a container, and what follows from them.
#[derive(Debug)]
pub(crate) struct HealthDuty {
    pub(crate) monitor: Monitor,
    pub(crate) duties: Duties,
}

/// What follows from a container's health.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duties {
    pub(crate) on_failure: OnFailure,
    /// Who tells systemd of readiness.
    pub(crate) notify: SdNotify,
    /// Whether systemd wants to hear that all is well, again and again.
    pub(crate) watchdog: bool,
    /// Whether somebody starts again what has failed: its unit, or `--restart`.
    pub(crate) restarted: bool,
}

impl HealthDuty {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.monitor.deadline()
    }

    pub(super) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.waiting()
    }
}

impl Supervisor<'_> {
    /// Does what is due, and takes in the results of checks, which are among the children that
    /// have ended.
    pub(super) fn look_after_health(
        &mut self,
        ended: &[(i32, u8)],
        stopping: &mut Option<Stopping>,
    ) {
        let Some(duty) = &mut self.health else { return };
        if stopping.is_some() {
            duty.monitor.stop();
        }
        let results = ended.iter().filter_map(|(pid, status)| duty.monitor.ended(*pid, *status));
        let mut outcomes: Vec<Outcome> = results.collect();
        outcomes.extend(duty.monitor.on_time());
        for outcome in outcomes {
            self.follow(outcome, stopping);
        }
    }

    pub(super) fn hear_check(&mut self) {
        if let Some(duty) = &mut self.health {
            duty.monitor.read();
        }
    }

    /// Somebody asks for a check: the one that runs, if one does, is it.
    pub(super) fn check_health(&mut self, stopping: &mut Option<Stopping>) {
        let outcome = self.health.as_mut().and_then(|duty| duty.monitor.check());
        if let Some(outcome) = outcome {
            self.follow(outcome, stopping);
        }
    }

    fn follow(&mut self, outcome: Outcome, stopping: &mut Option<Stopping>) {
        self.traffic.control.checked(outcome.passed);
        let Some(duty) = &self.health else { return };
        let duties = duty.duties;
        if outcome.change != Change::Nothing {
            self.tell(&duty.monitor, outcome.change, duties);
        }
        if outcome.passed && duties.notify == SdNotify::Healthy && duties.watchdog {
            self.notifier.send("WATCHDOG=1");
        }
        match (outcome.change, duties.on_failure) {
            (Change::NeverStarted, _) | (Change::Failed, OnFailure::Restart) => {
                let wish = if duties.restarted { Wish::Fail } else { Wish::Restart };
                self.begin_to_stop(wish, None, stopping);
            }
            (Change::Failed, OnFailure::Kill) => self.init.send(libc::SIGKILL),
            (Change::Failed, OnFailure::Stop) => self.begin_to_stop(Wish::Stop, None, stopping),
            _ => {}
        }
    }

    /// What has changed, to systemd and to the unit's journal.
    fn tell(&self, monitor: &Monitor, change: Change, duties: Duties) {
        let words = monitor.describe();
        match change {
            Change::Recovered if duties.notify == SdNotify::Healthy => {
                self.notifier.send(&format!("READY=1\nSTATUS={words}"));
            }
            _ if matches!(duties.notify, SdNotify::Healthy | SdNotify::Conmon) => {
                self.notifier.send(&format!("STATUS={words}"));
            }
            _ => {}
        }
        if matches!(change, Change::Failed | Change::NeverStarted) {
            eprintln!("container {} is {words}", self.record.name);
        }
    }
}
