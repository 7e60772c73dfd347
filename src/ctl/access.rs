//! Who does the work: the service where there is one, this process where there is none.

use super::Error;
use super::remote::{Properties, Remote, RemoteError};
use crate::daemon::api::{Api, UnitStatus};
use crate::model::UnitName;
use crate::plan::{Plan, Quarantined};
use crate::update::{Entry, Report, Trigger};

/// Opens the library's own implementation, when it is needed.
pub trait Embedded {
    type Api: Api;

    /// # Errors
    /// Where configuration or state cannot be read.
    fn open(&self) -> Result<Self::Api, crate::daemon::api::Error>;
}

/// The service, or this process.
#[derive(Debug)]
pub struct Access<E> {
    /// `None` where there is no bus.
    remote: Option<Remote>,
    embedded: E,
}

/// Asks the service; where it is absent, does the same in this process.
macro_rules! served {
    ($self:ident, $caller:ident, $method:ident($($argument:expr),*)) => {{
        if let Some(remote) = &$self.remote {
            match remote.$caller().$method($($argument),*).await {
                Err(RemoteError::Absent) => {}
                Ok(answer) => return Ok(answer),
                Err(RemoteError::Service(error)) => return Err(error.into()),
                Err(RemoteError::Bus { message, hint }) => {
                    return Err(Error::Bus { message, hint });
                }
            }
        }
        Ok($self.embedded.open()?.$method($($argument),*).await?)
    }};
}

impl<E: Embedded> Access<E> {
    pub fn new(remote: Option<Remote>, embedded: E) -> Self {
        Self { remote, embedded }
    }

    /// What the running service says of itself; `None` where none runs.
    pub async fn service(&self) -> Result<Option<Properties>, Error> {
        let Some(remote) = &self.remote else { return Ok(None) };
        match remote.properties().await {
            Ok(properties) => Ok(Some(properties)),
            Err(RemoteError::Absent) => Ok(None),
            Err(RemoteError::Service(error)) => Err(error.into()),
            Err(RemoteError::Bus { message, hint }) => Err(Error::Bus { message, hint }),
        }
    }

    pub async fn check(&self) -> Result<Plan, Error> {
        served!(self, reader, check())
    }

    pub async fn update(&self, units: &[UnitName], trigger: Trigger) -> Result<Report, Error> {
        served!(self, changer, update(units, trigger))
    }

    pub async fn units(&self) -> Result<Vec<UnitStatus>, Error> {
        served!(self, reader, units())
    }

    pub async fn history(
        &self,
        unit: Option<&UnitName>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        served!(self, reader, history(unit, limit))
    }

    pub async fn quarantine(&self) -> Result<Vec<Quarantined>, Error> {
        served!(self, reader, quarantine())
    }

    pub async fn clear_quarantine(&self, what: Option<&str>) -> Result<Vec<Quarantined>, Error> {
        served!(self, changer, clear_quarantine(what))
    }
}

#[cfg(test)]
mod tests;
