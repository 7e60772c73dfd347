//! Whether a rollout is in flight, and the brake that keeps new ones from starting.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::OnceCell;

use crate::model::{Failure, UnitName};
use crate::update::port::{JobError, JobResult, Manager, Observer, UnitState};
use crate::update::{Event, EventKind};

/// Shared between the observer that watches, the manager that brakes, and the main loop.
#[derive(Debug, Default, Clone)]
pub struct Flight(Rc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    restarted: Cell<bool>,
    winding_down: Cell<bool>,
}

impl Flight {
    /// Whether a unit was restarted and its rollout has not ended.
    pub fn in_flight(&self) -> bool {
        self.0.restarted.get()
    }

    /// From now on no unit is restarted for an update; a rollback still may.
    pub fn wind_down(&self) {
        self.0.winding_down.set(true);
    }
}

impl Observer for Flight {
    fn event(&self, event: &Event) {
        match event.kind {
            EventKind::Restarting | EventKind::RollingBack => self.0.restarted.set(true),
            EventKind::Updated
            | EventKind::RolledBack
            | EventKind::UpdateFailed
            | EventKind::StoppedMeanwhile
            | EventKind::Deferred
            | EventKind::NeedsOperator
            | EventKind::Suspended => self.0.restarted.set(false),
            EventKind::CheckFailed
            | EventKind::Misconfigured
            | EventKind::Problem
            | EventKind::UpdateAvailable
            | EventKind::Staging
            | EventKind::Staged
            | EventKind::Verifying
            | EventKind::Quarantined
            | EventKind::Resumed => {}
        }
    }
}

/// Opens the connection to systemd's manager.
#[expect(async_fn_in_trait, reason = "used generically on one thread only")]
pub trait Connect {
    type Manager: Manager;

    async fn connect(&self) -> Result<Self::Manager, Failure>;
}

/// A manager that is connected to when it is first needed (reading verbs never need it), and that
/// refuses to begin restarts while the service winds down, as a host that shuts down does.
#[derive(Debug)]
pub struct Braked<C: Connect> {
    connect: C,
    manager: OnceCell<C::Manager>,
    flight: Flight,
}

impl<C: Connect> Braked<C> {
    pub fn new(connect: C, flight: Flight) -> Self {
        Self { connect, manager: OnceCell::new(), flight }
    }

    async fn manager(&self) -> Result<&C::Manager, Failure> {
        self.manager.get_or_try_init(|| self.connect.connect()).await
    }
}

impl<C: Connect> Manager for Braked<C> {
    type Delay = Option<<C::Manager as Manager>::Delay>;

    async fn delay_shutdown(&self, why: &str) -> Self::Delay {
        // What cannot be connected to says so when it is asked for more.
        Some(self.manager().await.ok()?.delay_shutdown(why).await)
    }

    async fn is_shutting_down(&self) -> bool {
        match self.manager().await {
            Ok(manager) => manager.is_shutting_down().await,
            Err(_) => false,
        }
    }

    async fn state(&self, unit: &UnitName) -> Result<UnitState, Failure> {
        self.manager().await?.state(unit).await
    }

    async fn try_restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        if self.flight.0.winding_down.get() {
            return Err(JobError::ShuttingDown("the service is stopping".into()));
        }
        self.manager().await.map_err(JobError::Refused)?.try_restart(unit).await
    }

    async fn restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        self.manager().await.map_err(JobError::Refused)?.restart(unit).await
    }

    async fn reset_failed(&self, unit: &UnitName) -> Result<(), Failure> {
        self.manager().await?.reset_failed(unit).await
    }
}
