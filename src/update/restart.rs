//! Restarting a unit, forward and back.

use super::port::{Engine, JobError, Manager, UnitState, World};
use super::updater::Updater;
use crate::model::{Failure, FailureKind, UnitName};
use crate::plan::rollout::{Event, Rollout, Step};
use crate::plan::{Cause, JobResult};

/// The exit status by which the launcher says that it failed itself (podman-run(1), "EXIT STATUS").
pub(super) const LAUNCHER_FAILED: i32 = 125;

impl<W: World> Updater<W> {
    /// Restarts a unit that still runs. After a crash (`resumed`) the unit may run the new image
    /// already, or may have failed at boot: it ran when the rollout began, so it is started.
    pub(super) async fn try_restart(&self, step: &Step, rollout: &Rollout, resumed: bool) -> Event {
        let unit = &step.unit;
        let state = match self.world.manager().state(unit).await {
            Ok(state) => state,
            Err(failure) => return Event::Failed(Cause::Host { failure }),
        };
        match state.active.as_str() {
            "failed" if resumed => return self.start_again(unit).await,
            "inactive" | "deactivating" | "failed" => return Event::FoundStopped,
            _ => {}
        }
        if resumed && self.runs_new_image(step, rollout).await {
            return Event::Succeeded;
        }
        let job = self.world.manager().try_restart(unit).await;
        self.judge_job(unit, job).await
    }

    async fn runs_new_image(&self, step: &Step, rollout: &Rollout) -> bool {
        let running = self.world.engine().running(&step.unit, rollout.reference()).await;
        matches!(running, Ok(Some(image)) if image.manifest == rollout.new.manifest)
    }

    /// Restarts a unit whether it runs or failed, unless its operator stopped it meanwhile.
    pub(super) async fn start_again(&self, unit: &UnitName) -> Event {
        let manager = self.world.manager();
        if let Ok(state) = manager.state(unit).await
            && stopped_by_operator(&state)
        {
            return Event::FoundStopped;
        }
        if let Err(failure) = manager.reset_failed(unit).await {
            return Event::Failed(Cause::Host { failure });
        }
        let job = manager.restart(unit).await;
        self.judge_job(unit, job).await
    }

    async fn judge_job(&self, unit: &UnitName, job: Result<JobResult, JobError>) -> Event {
        let result = match job {
            Ok(JobResult::Done) => return Event::Succeeded,
            Ok(JobResult::Skipped) => return Event::FoundStopped,
            Ok(result) => result,
            Err(JobError::ShuttingDown(message)) => {
                return Event::Failed(Cause::ShuttingDown { message });
            }
            Err(JobError::ServiceStopping) => return Event::Failed(Cause::ServiceStopping),
            Err(JobError::NoSuchUnit(message)) => {
                let failure = Failure::new(FailureKind::Local, message);
                return Event::Failed(Cause::Host { failure });
            }
            Err(JobError::Refused(failure)) => return Event::Failed(Cause::Host { failure }),
        };
        match self.world.manager().state(unit).await {
            Ok(state) if result == JobResult::Canceled && is_stopped(&state) => Event::FoundStopped,
            Ok(state) if state.main_status == LAUNCHER_FAILED => Event::Failed(Cause::Launcher),
            _ => Event::Failed(Cause::Job { result }),
        }
    }
}

fn is_stopped(state: &UnitState) -> bool {
    matches!(state.active.as_str(), "inactive" | "deactivating")
}

/// Whether somebody asked the unit to stop, and it did.
pub(super) fn stopped_by_operator(state: &UnitState) -> bool {
    is_stopped(state) && state.stopped_on_request && state.result == "success"
}
