//! systemd's manager, of the host or of a user.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::Error;
use super::inhibit::{Inhibitor, delay_shutdown};
use super::jobs::{self, Restart};
use super::proxy::{JobProxy, SystemdProxy};
use crate::model::{Failure, UnitName};
use crate::update::port::{self, JobError, JobResult, UnitState};

/// How long systemd may be away from the bus while it executes itself anew
/// (`systemctl daemon-reexec`, at each upgrade of its package).
const AWAY: Duration = Duration::from_secs(30);

/// How soon it is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// A connection to one manager, subscribed to its signals.
#[derive(Debug)]
pub struct Manager {
    systemd: SystemdProxy<'static>,
    timeout: Duration,
    /// Where logind is.
    system: Option<Connection>,
    /// The unit that was restarted last, which systemd keeps loaded for us.
    kept: RefCell<Option<UnitName>>,
}

impl Manager {
    /// Speaks to the manager behind `connection`; a job may take at most `timeout`.
    ///
    /// # Errors
    /// Where nobody answers for systemd on that bus.
    pub async fn new(connection: &Connection, timeout: Duration) -> Result<Self, Error> {
        let failed = |source| Error::Call { call: "Subscribe", unit: "the manager".into(), source };
        let systemd = SystemdProxy::builder(connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(failed)?;
        match systemd.subscribe().await {
            Ok(()) => {}
            Err(error) if jobs::name(&error).as_deref() == Some(ALREADY_SUBSCRIBED) => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(Self { systemd, timeout, system: None, kept: RefCell::default() })
    }

    /// With the system bus, on which logind is asked to delay a shutdown.
    pub fn with_logind(self, system: Option<Connection>) -> Self {
        Self { system, ..self }
    }

    /// Has systemd keep what it knows of `unit` until the next unit is restarted, or we leave the
    /// bus. A unit that nothing refers to is forgotten as soon as it stops, and with it whether it
    /// was asked to.
    async fn keep(&self, unit: &UnitName) {
        if self.kept.borrow().as_ref() == Some(unit) {
            return;
        }
        match self.systemd.ref_unit(unit.as_str()).await {
            Ok(()) => {}
            // The restart says so, too.
            Err(error) if jobs::name(&error).as_deref() == Some(NO_SUCH_UNIT) => return,
            Err(error) => {
                tracing::debug!(%unit, %error, "systemd does not keep the unit loaded, ignoring");
                return;
            }
        }
        let before = self.kept.replace(Some(unit.clone()));
        if let Some(before) = before
            && let Err(error) = self.systemd.unref_unit(before.as_str()).await
        {
            tracing::debug!(unit = %before, %error, "systemd keeps the unit loaded, ignoring");
        }
    }

    /// Reads the unit; while systemd is away, for at most `patience`, again and again.
    pub(super) async fn state_within(
        &self,
        unit: &UnitName,
        patience: Duration,
    ) -> Result<UnitState, Failure> {
        let until = Instant::now() + patience;
        loop {
            match self.read(unit).await {
                Err(error) if is_away(&error) && Instant::now() < until => {
                    tokio::time::sleep(AGAIN).await;
                }
                state => return Ok(state?),
            }
        }
    }

    async fn properties(
        &self,
        unit: &UnitName,
        interface: &'static str,
    ) -> Result<HashMap<String, OwnedVariant>, Error> {
        let call = "GetAll";
        let failed = |source| Error::Call { call, unit: unit.to_string(), source };
        let path = self.systemd.load_unit(unit.as_str()).await.map_err(failed)?;
        let connection = self.systemd.inner().connection();
        let properties = PropertiesProxy::builder(connection)
            .destination("org.freedesktop.systemd1")
            .path(path)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(failed)?;
        let interface = InterfaceName::from_static_str(interface).map_err(failed)?;
        properties.get_all(interface).await.map_err(|error| failed(error.into()))
    }

    /// The type of a unit's job; `None` where it has none, or where that has just ended.
    async fn job(&self, (id, path): (u32, OwnedObjectPath)) -> Option<String> {
        if id == 0 {
            return None;
        }
        let connection = self.systemd.inner().connection();
        let job = JobProxy::builder(connection).path(path).cache_properties(CacheProperties::No);
        job.build().await.ok()?.job_type().await.ok()
    }

    async fn read(&self, unit: &UnitName) -> Result<UnitState, Error> {
        let general = self.properties(unit, "org.freedesktop.systemd1.Unit").await?;
        let service = self.properties(unit, "org.freedesktop.systemd1.Service").await?;
        let job = self.job(property(&general, unit, "Job")?).await;
        let result: String = property(&service, unit, "Result")?;
        let times = Times {
            started: property(&service, unit, "ExecMainStartTimestampMonotonic")?,
            left: property(&general, unit, "ActiveExitTimestampMonotonic")?,
            ended: property(&service, unit, "ExecMainExitTimestampMonotonic")?,
        };
        let since_boot: u64 = property(&general, unit, "InactiveExitTimestampMonotonic")?;
        let kind: String = property(&service, unit, "Type")?;
        let triggers: Vec<String> = property(&general, unit, "TriggeredBy")?;
        let invocation: Vec<u8> = property(&general, unit, "InvocationID")?;
        Ok(UnitState {
            active: property(&general, unit, "ActiveState")?,
            sub: property(&general, unit, "SubState")?,
            main_status: property(&service, unit, "ExecMainStatus")?,
            stopped_on_request: job.as_deref() == Some("stop") || times.show_a_stop(&result),
            job,
            result,
            was_started: since_boot > 0,
            transient: kind == "oneshot" || triggers.iter().any(|unit| unit.ends_with(".timer")),
            restarts: property(&service, unit, "NRestarts")?,
            invocation: invocation.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

/// When a service came and went; microseconds of CLOCK_MONOTONIC, 0 for what has not happened.
struct Times {
    /// Its main process.
    started: u64,
    /// The unit, from its active state.
    left: u64,
    /// Its main process; 0 while it runs.
    ended: u64,
}

impl Times {
    /// Whether the unit left its active state while its main process still ran, and not because
    /// systemd itself took against it.
    fn show_a_stop(&self, result: &str) -> bool {
        let taken_down = matches!(
            result,
            "watchdog" | "oom-kill" | "protocol" | "resources" | "start-limit-hit"
        );
        let was_running = self.started > 0 && self.left >= self.started;
        was_running && (self.ended == 0 || self.left <= self.ended) && !taken_down
    }
}

const ALREADY_SUBSCRIBED: &str = "org.freedesktop.systemd1.AlreadySubscribed";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Whether systemd was not on the bus, while the bus was there.
fn is_away(error: &Error) -> bool {
    let Error::Call { source, .. } = error else { return false };
    let Some(name) = jobs::name(source) else { return false };
    match name.strip_prefix("org.freedesktop.DBus.Error.") {
        Some("NoReply" | "NameHasNoOwner" | "ServiceUnknown") => true,
        // The bus tried to start it.
        Some(name) => name.starts_with("Spawn."),
        None => false,
    }
}

fn property<T: TryFrom<OwnedVariant>>(
    properties: &HashMap<String, OwnedVariant>,
    unit: &UnitName,
    property: &'static str,
) -> Result<T, Error> {
    let value = properties.get(property).and_then(|value| value.try_clone().ok());
    value
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| Error::Property { property, unit: unit.to_string() })
}

impl port::Manager for Manager {
    type Delay = Option<Inhibitor>;

    async fn delay_shutdown(&self, why: &str) -> Option<Inhibitor> {
        delay_shutdown(self.system.as_ref()?, why).await
    }

    async fn is_shutting_down(&self) -> bool {
        // Where systemd does not answer nothing is known, and what was asked for fails by itself.
        self.systemd.system_state().await.is_ok_and(|state| state == "stopping")
    }

    async fn state(&self, unit: &UnitName) -> Result<UnitState, Failure> {
        self.state_within(unit, AWAY).await
    }

    async fn try_restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        self.keep(unit).await;
        jobs::restart(&self.systemd, unit, Restart::Try, self.timeout).await
    }

    async fn restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        self.keep(unit).await;
        jobs::restart(&self.systemd, unit, Restart::Always, self.timeout).await
    }

    async fn reset_failed(&self, unit: &UnitName) -> Result<(), Failure> {
        match self.systemd.reset_failed_unit(unit.as_str()).await {
            Ok(()) => Ok(()),
            Err(error) if jobs::name(&error).as_deref() == Some(NO_SUCH_UNIT) => Ok(()),
            Err(source) => {
                let call = "ResetFailedUnit";
                Err(Error::Call { call, unit: unit.to_string(), source }.into())
            }
        }
    }
}
