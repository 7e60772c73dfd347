//! What systemd's properties say of one unit.

use std::collections::HashMap;
use std::time::Duration;

use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::Error;
use super::proxy::JobProxy;
use crate::update::port::{Followers, Standing, UnitState};

pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(super) const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// A unit's properties, as they were read one after the other.
#[derive(Debug, Default)]
pub(super) struct Properties {
    /// Those of every unit.
    pub(super) general: HashMap<String, OwnedVariant>,
    /// Those of a service; none of any other unit.
    pub(super) service: HashMap<String, OwnedVariant>,
}

/// The properties at `path`, each time anew; nothing is remembered.
pub(super) async fn proxy(
    connection: &Connection,
    path: OwnedObjectPath,
) -> zbus::Result<PropertiesProxy<'static>> {
    PropertiesProxy::builder(connection)
        .destination("org.freedesktop.systemd1")
        .path(path)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

/// `NRestarts` of the service at `path`.
pub(super) async fn restarts(connection: &Connection, path: OwnedObjectPath) -> zbus::Result<u32> {
    let proxy = proxy(connection, path).await?;
    proxy.get(InterfaceName::from_static_str(SERVICE)?, "NRestarts").await?.try_into()
}

impl Properties {
    pub(super) async fn read(
        connection: &Connection,
        path: OwnedObjectPath,
        unit: &str,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Call { call: "GetAll", unit: unit.to_string(), source };
        let proxy = proxy(connection, path).await.map_err(failed)?;
        let all = async |interface| {
            let interface = InterfaceName::from_static_str(interface).map_err(failed)?;
            proxy.get_all(interface).await.map_err(|error| failed(error.into()))
        };
        // The unit before its process: of one that crashes between the two answers, it is known that
        // the process ended, and not yet that the unit did. The other way round the unit would have
        // left its active state while the process ran, which is what a stop looks like.
        let general = all(UNIT).await?;
        let service = if unit.ends_with(".service") { all(SERVICE).await? } else { HashMap::new() };
        Ok(Self { general, service })
    }

    /// Whether the unit was started since it was loaded.
    pub(super) fn was_started(&self) -> bool {
        let since = self.general.get("InactiveExitTimestampMonotonic");
        since.and_then(|since| u64::try_from(&**since).ok()).is_some_and(|since| since > 0)
    }

    /// What all that means, as far as this room is to say.
    pub(super) async fn state(
        &self,
        connection: &Connection,
        unit: &str,
    ) -> Result<UnitState, Error> {
        let Self { general, service } = self;
        let job = job(connection, property(general, unit, "Job")?).await;
        let result: String = property(service, unit, "Result")?;
        let times = self.times(unit)?;
        let since_boot: u64 = property(general, unit, "InactiveExitTimestampMonotonic")?;
        let kind: String = property(service, unit, "Type")?;
        let triggers: Vec<String> = property(general, unit, "TriggeredBy")?;
        Ok(UnitState {
            active: property(general, unit, "ActiveState")?,
            sub: property(general, unit, "SubState")?,
            main_status: property(service, unit, "ExecMainStatus")?,
            stopped_on_request: job.as_deref() == Some("stop") || times.show_a_stop(&result),
            job,
            result,
            was_started: since_boot > 0,
            left: Duration::from_micros(times.left),
            transient: kind == "oneshot" || triggers.iter().any(|unit| starts_jobs(unit)),
            is_there: property::<String>(general, unit, "LoadState")? != "not-found",
            announced: kind == "notify" && times.became_active(),
            restarts: property(service, unit, "NRestarts")?,
            invocation: self.invocation(unit)?,
        })
    }
}

impl Properties {
    fn times(&self, unit: &str) -> Result<Times, Error> {
        let Self { general, service } = self;
        Ok(Times {
            started: property(service, unit, "ExecMainStartTimestampMonotonic")?,
            entered: property(general, unit, "ActiveEnterTimestampMonotonic")?,
            left: property(general, unit, "ActiveExitTimestampMonotonic")?,
            ended: property(service, unit, "ExecMainExitTimestampMonotonic")?,
        })
    }

    /// What is to be known of a unit of any type. Most have no program that could end by itself.
    pub(super) async fn standing(
        &self,
        connection: &Connection,
        unit: &str,
    ) -> Result<Standing, Error> {
        let Self { general, service } = self;
        let job = job(connection, property(general, unit, "Job")?).await;
        let active: String = property(general, unit, "ActiveState")?;
        let left: u64 = property(general, unit, "ActiveExitTimestampMonotonic")?;
        let entered: u64 = property(general, unit, "ActiveEnterTimestampMonotonic")?;
        let inactive = active == "inactive";
        let mut standing = Standing {
            stopped_on_request: job.as_deref() == Some("stop") || inactive,
            active,
            sub: property(general, unit, "SubState")?,
            job,
            came_to_its_end: false,
            was_started: self.was_started(),
            is_enabled: self.names(&WANT_IT).next().is_some(),
            transient: false,
            entered: Duration::from_micros(entered),
            left: Duration::from_micros(left),
            restarts: 0,
            invocation: self.invocation(unit)?,
        };
        if service.is_empty() {
            return Ok(standing);
        }
        standing.restarts = property(service, unit, "NRestarts")?;
        if property(service, unit, "RemainAfterExit")? {
            return Ok(standing);
        }
        let result: String = property(service, unit, "Result")?;
        let times = self.times(unit)?;
        let stopped = times.show_a_stop(&result);
        standing.stopped_on_request = standing.job.as_deref() == Some("stop") || stopped;
        standing.came_to_its_end = inactive && result == "success" && times.ended > 0 && !stopped;
        standing.transient = property::<String>(service, unit, "Type")? == "oneshot";
        Ok(standing)
    }

    fn invocation(&self, unit: &str) -> Result<String, Error> {
        let bytes: Vec<u8> = property(&self.general, unit, "InvocationID")?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Who has to do with the unit. What this systemd does not know of is nobody.
    pub(super) fn followers(&self) -> Followers {
        let [later, dependents] =
            [&["Before"][..], &STOP_WITH_IT].map(|names| self.names(names).collect());
        Followers { later, dependents }
    }

    /// The units in these properties.
    fn names(&self, properties: &[&str]) -> impl Iterator<Item = String> {
        let values = properties.iter().filter_map(|name| self.general.get(*name)?.try_clone().ok());
        values.filter_map(|value| Vec::<String>::try_from(value).ok()).flatten()
    }
}

/// Whether what a unit of this type starts is expected to end. A socket's service may stay for good.
fn starts_jobs(trigger: &str) -> bool {
    trigger.ends_with(".timer") || trigger.ends_with(".path")
}

/// The properties that name the units to which a stop goes on (systemd.unit(5)).
const STOP_WITH_IT: [&str; 5] =
    ["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"];

/// The properties that name the units that have it started.
const WANT_IT: [&str; 3] = ["WantedBy", "RequiredBy", "UpheldBy"];

/// The type of a unit's job; `None` where it has none, or where that has just ended.
async fn job(connection: &Connection, (id, path): (u32, OwnedObjectPath)) -> Option<String> {
    if id == 0 {
        return None;
    }
    let job = JobProxy::builder(connection).path(path).cache_properties(CacheProperties::No);
    job.build().await.ok()?.job_type().await.ok()
}

/// When a service came and went; microseconds of CLOCK_MONOTONIC, 0 for what has not happened.
struct Times {
    /// Its main process.
    started: u64,
    /// The unit, its active state.
    entered: u64,
    /// The unit, from its active state.
    left: u64,
    /// Its main process; 0 while it runs.
    ended: u64,
}

impl Times {
    /// Whether the unit was active in this run of its main process: one that fails before has the
    /// time of an earlier run, or none.
    fn became_active(&self) -> bool {
        self.started > 0 && self.entered >= self.started
    }

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

fn property<T: TryFrom<OwnedVariant>>(
    properties: &HashMap<String, OwnedVariant>,
    unit: &str,
    property: &'static str,
) -> Result<T, Error> {
    let value = properties.get(property).and_then(|value| value.try_clone().ok());
    value
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| Error::Property { property, unit: unit.to_string() })
}
