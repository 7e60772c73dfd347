//! systemd's manager, of the host or of a user.

use std::collections::HashMap;
use std::time::Duration;

use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedVariant};

use super::Error;
use super::jobs::{self, Restart};
use super::proxy::SystemdProxy;
use crate::model::{Failure, UnitName};
use crate::update::port::{self, JobError, JobResult, UnitState};

/// A connection to one manager, subscribed to its signals.
#[derive(Debug, Clone)]
pub struct Manager {
    systemd: SystemdProxy<'static>,
    timeout: Duration,
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
            Err(error) if jobs::name(&error) == Some(ALREADY_SUBSCRIBED) => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(Self { systemd, timeout })
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

    async fn read(&self, unit: &UnitName) -> Result<UnitState, Error> {
        let general = self.properties(unit, "org.freedesktop.systemd1.Unit").await?;
        let service = self.properties(unit, "org.freedesktop.systemd1.Service").await?;
        let left: u64 = property(&general, unit, "ActiveExitTimestampMonotonic")?;
        let ended: u64 = property(&service, unit, "ExecMainExitTimestampMonotonic")?;
        let invocation: Vec<u8> = property(&general, unit, "InvocationID")?;
        Ok(UnitState {
            active: property(&general, unit, "ActiveState")?,
            sub: property(&general, unit, "SubState")?,
            result: property(&service, unit, "Result")?,
            main_status: property(&service, unit, "ExecMainStatus")?,
            stopped_on_request: left > 0 && left <= ended,
            restarts: property(&service, unit, "NRestarts")?,
            invocation: invocation.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

const ALREADY_SUBSCRIBED: &str = "org.freedesktop.systemd1.AlreadySubscribed";

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
    async fn state(&self, unit: &UnitName) -> Result<UnitState, Failure> {
        Ok(self.read(unit).await?)
    }

    async fn try_restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        jobs::restart(&self.systemd, unit, Restart::Try, self.timeout).await
    }

    async fn restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        jobs::restart(&self.systemd, unit, Restart::Always, self.timeout).await
    }

    async fn reset_failed(&self, unit: &UnitName) -> Result<(), Failure> {
        match self.systemd.reset_failed_unit(unit.as_str()).await {
            Ok(()) => Ok(()),
            Err(error) if jobs::name(&error) == Some("org.freedesktop.systemd1.NoSuchUnit") => {
                Ok(())
            }
            Err(source) => {
                let call = "ResetFailedUnit";
                Err(Error::Call { call, unit: unit.to_string(), source }.into())
            }
        }
    }
}
