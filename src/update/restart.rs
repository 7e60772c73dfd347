//! Restarting a unit, forward and back.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::execute::Begin;
use super::port::{Clock, Engine, JobError, Manager, UnitState, World};
use super::updater::Updater;
use super::verify::LOOK;
use crate::model::{Failure, FailureKind, UnitName};
use crate::plan::rollout::{Event, Rollout, Step};
use crate::plan::{Cause, JobResult};

/// The exit status by which the launcher says that it failed itself (podman-run(1), "EXIT STATUS").
pub(super) const LAUNCHER_FAILED: i32 = 125;

impl<W: World> Updater<W> {
    /// Restarts a unit that still runs. After a crash (`Resumed`) the unit may run the new image
    /// already, or may have failed at boot: it ran when the rollout began, so it is started.
    pub(super) async fn try_restart(&self, step: &Step, rollout: &Rollout, begin: Begin) -> Event {
        let unit = &step.unit;
        let manager = self.world.manager();
        let state = match self.recalled(unit, begin).await {
            Ok(state) => state,
            Err(failure) => return Event::NotBegun(Cause::Host { failure }),
        };
        if state.is_stopped_for_good() {
            return Event::FoundStopped;
        }
        // Also where its work has ended meanwhile, in whichever way: it is not started for this.
        if state.is_transient() {
            return Event::FoundTransient;
        }
        let resumed = begin.is_resumed();
        if state.is_starting() || (resumed && state.is_down()) {
            // A restart that is under way already, by somebody else or by us before a crash.
            return self.in_time(unit, self.start_again(unit, begin)).await;
        }
        if matches!(state.active.as_str(), "failed" | "inactive" | "deactivating") {
            let UnitState { active, result, .. } = state;
            return Event::NotBegun(Cause::FailedBefore { active, result });
        }
        // It may have come there by a restart for another image of the unit, too.
        if (resumed || step.led) && self.runs_new_image(step, rollout).await {
            return Event::Succeeded;
        }
        // A start limit must not refuse the restart, and automatic restarts count from here.
        if let Err(failure) = manager.reset_failed(unit.as_str()).await {
            return Event::NotBegun(Cause::Host { failure });
        }
        self.in_time(unit, self.restart_running(unit, &state, begin)).await
    }

    /// A start that takes longer than the operator gives it has failed, whatever systemd gives it. The
    /// job goes on; going back takes its place.
    pub(super) async fn in_time(
        &self,
        unit: &UnitName,
        restart: impl Future<Output = Event>,
    ) -> Event {
        let restart = pin!(restart);
        let late = pin!(self.starts_too_long(unit));
        match select(restart, late).await {
            Either::Left((event, _)) => event,
            Either::Right((limit, _)) => {
                Event::Failed(Cause::SlowStart { seconds: limit.as_secs() })
            }
        }
    }

    /// Restarts a unit that was `seen` up. Of one that ends between that look and the job systemd says
    /// that the job is done, and leaves it down: it ran, so it is started.
    async fn restart_running(&self, unit: &UnitName, seen: &UnitState, begin: Begin) -> Event {
        match self.world.manager().try_restart(unit).await {
            Ok(JobResult::Done) if self.ended_since(unit, seen).await => {
                self.start_again(unit, begin).await
            }
            Ok(result) => self.judge_job(unit, result).await,
            Err(error) => not_queued(error),
        }
    }

    /// Whether the run in which the unit was seen was its last, and is over.
    async fn ended_since(&self, unit: &UnitName, seen: &UnitState) -> bool {
        let state = self.world.manager().state(unit).await;
        let of_that_run = |state: &UnitState| state.invocation == seen.invocation;
        state.is_ok_and(|state| of_that_run(&state) && state.is_down() && !state.is_starting())
    }

    /// Ends when `unit` has been starting for as long as it may.
    async fn starts_too_long(&self, unit: &UnitName) -> Duration {
        let Some(limit) = self.options.start_timeout(unit) else { return pending().await };
        let clock = self.world.clock();
        let mut since = None;
        loop {
            clock.sleep(LOOK).await;
            let state = self.world.manager().state(unit).await;
            if !state.is_ok_and(|state| state.active == "activating") {
                since = None;
                continue;
            }
            let now = clock.monotonic();
            if now.saturating_sub(*since.get_or_insert(now)) >= limit {
                return limit;
            }
        }
    }

    pub(super) async fn runs_new_image(&self, step: &Step, rollout: &Rollout) -> bool {
        let aim = rollout.aim(step);
        let Ok(engine) = self.world.engine(aim.engine) else { return false };
        let running = engine.running(&step.unit, aim.reference()).await.unwrap_or_default();
        !running.is_empty() && running.iter().all(|running| running.runs(&aim.new.manifest))
    }

    /// Restarts a unit whether it runs or failed, unless it was stopped meanwhile.
    pub(super) async fn start_again(&self, unit: &UnitName, begin: Begin) -> Event {
        let manager = self.world.manager();
        if let Ok(state) = self.recalled(unit, begin).await
            && state.is_stopped_for_good()
        {
            return Event::FoundStopped;
        }
        if let Err(failure) = manager.reset_failed(unit.as_str()).await {
            return Event::NotBegun(Cause::Host { failure });
        }
        match manager.restart(unit).await {
            Ok(result) => self.judge_job(unit, result).await,
            Err(error) => not_queued(error),
        }
    }

    pub(super) async fn judge_job(&self, unit: &UnitName, result: JobResult) -> Event {
        match result {
            JobResult::Done => return Event::Succeeded,
            JobResult::Skipped => return Event::FoundStopped,
            _ => {}
        }
        match self.world.manager().state(unit).await {
            Ok(state) if state.is_stopped_for_good() => Event::FoundStopped,
            Ok(state) if state.main_status == LAUNCHER_FAILED => Event::Failed(Cause::Launcher),
            Ok(state) if matches!(state.result.as_str(), "start-limit-hit" | "resources") => {
                Event::Failed(Cause::NotStarted { result: state.result })
            }
            _ => Event::Failed(Cause::Job { result }),
        }
    }
}

/// What a job that did not come to its end says of the unit.
pub(super) fn not_queued(error: JobError) -> Event {
    match error {
        JobError::ShuttingDown(message) => Event::Failed(Cause::ShuttingDown { message }),
        JobError::ServiceStopping => Event::Failed(Cause::ServiceStopping),
        JobError::Lost(message) => Event::Failed(Cause::BusLost { message }),
        JobError::Stuck(failure) => Event::Failed(Cause::Host { failure }),
        JobError::Refused(failure) => Event::NotBegun(Cause::Host { failure }),
        JobError::NoSuchUnit(message) => {
            let failure = Failure::new(FailureKind::Local, message);
            Event::NotBegun(Cause::Host { failure })
        }
    }
}

impl UnitState {
    /// Whether it was stopped by somebody, or never started, and nobody is about to start it. One
    /// that was stopped with an error, as a program that SIGTERM kills, was stopped all the same.
    pub(super) fn is_stopped_for_good(&self) -> bool {
        let down = match self.active.as_str() {
            "inactive" => self.stopped_on_request || !self.was_started,
            "deactivating" | "failed" => self.stopped_on_request,
            _ => false,
        };
        down && !self.is_about_to_start()
    }

    /// Whether it came, or comes, to an end that it should not have.
    pub(super) fn is_down(&self) -> bool {
        match self.active.as_str() {
            "failed" => true,
            "inactive" | "deactivating" => !self.transient,
            _ => false,
        }
    }

    /// Whether it is on its way up: starting, or waiting for its turn to.
    pub(super) fn is_starting(&self) -> bool {
        match self.active.as_str() {
            "activating" => self.sub != "auto-restart" && !self.is_transient(),
            "inactive" | "deactivating" | "failed" => self.is_about_to_start(),
            _ => false,
        }
    }

    fn is_about_to_start(&self) -> bool {
        matches!(self.job.as_deref(), Some("start" | "restart" | "reload-or-start"))
    }

    /// Whether it is at work that ends by itself; `RemainAfterExit=` means that it has ended.
    pub(super) fn is_transient(&self) -> bool {
        self.transient && self.sub != "exited"
    }
}
