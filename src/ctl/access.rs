//! Who does the work: the service where there is one, this process where there is none.

use super::Error;
use super::remote::{Properties, Remote, RemoteError};
use crate::daemon::api::{Api, Checked, UnitStatus};
use crate::model::UnitName;
use crate::plan::Quarantined;
use crate::update::{Entry, Report, Trigger};

/// Opens the library's own implementation, when it is needed.
pub trait Embedded {
    type Api: Api;

    /// # Errors
    /// Where configuration or state cannot be read.
    fn open(&self) -> Result<Self::Api, Error>;

    /// Whether the service could start with the configuration as it is.
    ///
    /// # Errors
    /// Where it could not: the bus would tell no more than that nobody came.
    fn validate(&self) -> Result<(), Error>;
}

/// The service, or this process.
#[derive(Debug)]
pub struct Access<E> {
    /// `None` where there is no bus.
    remote: Option<Remote>,
    embedded: E,
}

/// Asks the service where it runs; else does the same in this process.
macro_rules! read {
    ($self:ident, $method:ident($($argument:expr),*)) => {{
        if let Some(remote) = &$self.remote
            && let Some(answer) = present(remote.running().$method($($argument),*).await)?
        {
            return Ok(answer);
        }
        Ok($self.embedded.open()?.$method($($argument),*).await?)
    }};
}

/// Asks the service, started where it is not running; where there is none, does the same in this
/// process.
macro_rules! change {
    ($self:ident, $method:ident($($argument:expr),*)) => {{
        if let Some(remote) = &$self.remote {
            if let Some(answer) = present(remote.running().$method($($argument),*).await)? {
                return Ok(answer);
            }
            $self.embedded.validate()?;
            if let Some(answer) = present(remote.starting().$method($($argument),*).await)? {
                return Ok(answer);
            }
        }
        Ok($self.embedded.open()?.$method($($argument),*).await?)
    }};
}

/// `None` where there is no service to answer.
fn present<T>(answer: Result<T, RemoteError>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(RemoteError::Absent) => Ok(None),
        Err(RemoteError::Service(error)) => Err(error.into()),
        Err(RemoteError::Bus { message, hint }) => Err(Error::Bus { message, hint }),
    }
}

impl<E: Embedded> Access<E> {
    pub fn new(remote: Option<Remote>, embedded: E) -> Self {
        Self { remote, embedded }
    }

    /// What the running service says of itself; `None` where none runs.
    pub async fn service(&self) -> Result<Option<Properties>, Error> {
        let Some(remote) = &self.remote else { return Ok(None) };
        present(remote.properties().await)
    }

    pub async fn check(&self) -> Result<Checked, Error> {
        read!(self, check())
    }

    pub async fn update(&self, units: &[UnitName], trigger: Trigger) -> Result<Report, Error> {
        change!(self, update(units, trigger))
    }

    pub async fn units(&self) -> Result<Vec<UnitStatus>, Error> {
        read!(self, units())
    }

    pub async fn history(
        &self,
        unit: Option<&UnitName>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        read!(self, history(unit, limit))
    }

    pub async fn quarantine(&self) -> Result<Vec<Quarantined>, Error> {
        read!(self, quarantine())
    }

    pub async fn clear_quarantine(&self, what: Option<&str>) -> Result<Vec<Quarantined>, Error> {
        change!(self, clear_quarantine(what))
    }
}

#[cfg(test)]
mod tests;
