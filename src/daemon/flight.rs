//! Whether a rollout is in flight, and the brake that keeps new ones from starting.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::model::{Failure, UnitName};
use crate::plan::{Cause, Followers};
use crate::update::port::{JobError, JobResult, Manager, Observer, Standing, UnitState};
use crate::update::{Event, EventKind};

/// Shared between the observers that watch, the managers that brake, and the main loop: one for
/// the whole process, since a pass that began under the settings before a reload goes on beside
/// those after it.
#[derive(Debug, Default, Clone)]
pub struct Flight(Rc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    /// The event by which each unit that is in flight got there.
    begun: RefCell<Vec<Event>>,
    winding_down: Cell<bool>,
}

impl Flight {
    /// Whether a unit was restarted and its rollout has not ended.
    pub fn in_flight(&self) -> bool {
        !self.0.begun.borrow().is_empty()
    }

    /// The units of which that is so, each as the event that is told of it when the process ends
    /// all the same.
    pub fn suspended(&self) -> Vec<Event> {
        let suspended = |begun: &Event| Event {
            kind: EventKind::Suspended,
            detail: Cause::ServiceStopping.to_string(),
            elapsed_ms: None,
            ..begun.clone()
        };
        self.0.begun.borrow().iter().map(suspended).collect()
    }

    /// From now on no unit is restarted for an update; a rollback still may.
    pub fn wind_down(&self) {
        self.0.winding_down.set(true);
    }
}

impl Cells {
    fn begin(&self, event: &Event) {
        self.end(event);
        self.begun.borrow_mut().push(event.clone());
    }

    fn end(&self, event: &Event) {
        let same = |begun: &Event| begun.unit == event.unit && begun.reference == event.reference;
        self.begun.borrow_mut().retain(|begun| !same(begun));
    }
}

impl Observer for Flight {
    fn event(&self, event: &Event) {
        match event.kind {
            // What is taken up again was restarted by the process before, for all that is known.
            EventKind::Restarting | EventKind::RollingBack | EventKind::Resumed => {
                self.0.begin(event);
            }
            EventKind::Updated
            | EventKind::Reverted
            | EventKind::RolledBack
            | EventKind::UpdateFailed
            | EventKind::NotReached
            | EventKind::StoppedMeanwhile
            | EventKind::Deferred
            | EventKind::TakenBack
            | EventKind::NeedsOperator
            | EventKind::Suspended => self.0.end(event),
            EventKind::CheckFailed
            | EventKind::Misconfigured
            | EventKind::Problem
            | EventKind::UpdateAvailable
            | EventKind::Staging
            | EventKind::Staged
            | EventKind::Verifying
            | EventKind::Quarantined
            | EventKind::Removed => {}
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

    async fn boot(&self) -> String {
        match self.manager().await {
            Ok(manager) => manager.boot().await,
            Err(_) => String::new(),
        }
    }

    async fn is_shutting_down(&self) -> bool {
        match self.manager().await {
            Ok(manager) => manager.is_shutting_down().await,
            Err(_) => false,
        }
    }

    fn is_winding_down(&self) -> bool {
        self.flight.0.winding_down.get()
    }

    async fn state(&self, unit: &UnitName) -> Result<UnitState, Failure> {
        self.manager().await?.state(unit).await
    }

    async fn try_restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        if self.is_winding_down() {
            return Err(JobError::ServiceStopping);
        }
        self.manager().await.map_err(JobError::Refused)?.try_restart(unit).await
    }

    async fn restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        self.manager().await.map_err(JobError::Refused)?.restart(unit).await
    }

    async fn start(&self, unit: &str) -> Result<JobResult, JobError> {
        self.manager().await.map_err(JobError::Refused)?.start(unit).await
    }

    async fn stop(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        self.manager().await.map_err(JobError::Refused)?.stop(unit).await
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), Failure> {
        self.manager().await?.reset_failed(unit).await
    }

    async fn standing(&self, unit: &str) -> Result<Standing, Failure> {
        self.manager().await?.standing(unit).await
    }

    async fn followers(&self, unit: &str) -> Result<Followers, Failure> {
        self.manager().await?.followers(unit).await
    }

    async fn job_ended(&self, units: &[UnitName]) {
        match self.manager().await {
            Ok(manager) => manager.job_ended(units).await,
            Err(_) => pending().await,
        }
    }

    fn now(&self) -> Duration {
        self.manager.get().map(Manager::now).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_up_again_is_in_flight_until_it_ends() {
        let flight = Flight::default();
        let tell = |unit: &str, kind| {
            flight.event(&Event { unit: unit.parse().ok(), ..Event::new(kind) });
            flight.in_flight()
        };
        assert!(tell("a.service", EventKind::Resumed) && tell("b.service", EventKind::Resumed));
        assert!(tell("a.service", EventKind::Verifying));
        let suspended = flight.suspended();
        let units: Vec<_> = suspended.iter().map(|event| (event.kind, &event.unit)).collect();
        let [a, b] = ["a.service", "b.service"].map(|unit| unit.parse().ok());
        assert_eq!(units, [(EventKind::Suspended, &a), (EventKind::Suspended, &b)]);
        assert!(tell("a.service", EventKind::Updated));
        assert!(!tell("b.service", EventKind::Suspended));
    }
}
