//! Who does the work: the service where there is one, this process where there is none.

use std::future::Future;
use std::pin::pin;

use futures_util::future::{self, Either, FutureExt as _};
use futures_util::stream::{self, Stream, StreamExt as _};

use super::Error;
use super::args::AutoUpdate;
use super::remote::{Caller, Properties, Remote, RemoteError};
use crate::config::Scope;
use crate::daemon::api::{
    self, Api, Checked, Held, HistoryQuery, Holding, RegistryStatus, UnitStatus,
};
use crate::daemon::bus::Signal;
use crate::daemon::observe;
use crate::model::failure::chain;
use crate::model::{Container, UnitName};
use crate::plan::doctor::Facts;
use crate::plan::{Approval, Hold, Plan, Quarantined};
use crate::update::port::Observer;
use crate::update::{Entry, Report, Trigger};

/// What `auto-update` found, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoUpdated {
    /// As they were before.
    pub containers: Vec<Container>,
    pub done: Done,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Nothing was to be changed.
    Planned(Plan),
    Updated(Report),
}

/// Opens the library's own implementation, when it is needed.
#[expect(async_fn_in_trait, reason = "used generically on one thread only")]
pub trait Embedded {
    type Api: Api;

    /// # Errors
    /// Where configuration or state cannot be read.
    fn open(&self) -> Result<Self::Api, Error>;

    /// Does what `auto-update` does, which is always this process's own work.
    ///
    /// # Errors
    /// Where it could not be done at all.
    async fn auto_update(&self, flags: &AutoUpdate) -> Result<AutoUpdated, Error>;

    /// Looks at the host, which is always this process's own work. `checked` is what a check found, or
    /// why there was none; `containers` is what runs.
    ///
    /// # Errors
    /// Where the configuration cannot be read.
    async fn facts(
        &self,
        checked: Result<Checked, String>,
        containers: &[UnitStatus],
    ) -> Result<Facts, Error>;

    /// Whether the service could start with the configuration as it is.
    ///
    /// # Errors
    /// Where it could not: the bus would tell no more than that nobody came.
    fn validate(&self) -> Result<(), Error>;

    /// Who looks on while the work is done, here or by the service; `None` where nobody does.
    fn onlooker(&self) -> Option<&dyn Observer>;
}

/// The service, or this process.
#[derive(Debug)]
pub struct Access<E> {
    /// `None` where there is no bus.
    remote: Option<Remote>,
    embedded: E,
}

/// What is known of the running service.
#[derive(Debug, PartialEq, Eq)]
pub enum Service {
    Running(Properties),
    NotRunning,
    /// There is no bus to ask it over.
    NoBus,
}

/// `None` where there is no service to answer.
fn present<T>(answer: Result<T, RemoteError>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(RemoteError::Absent) => Ok(None),
        Err(RemoteError::Denied) if Scope::current() == Scope::System => Err(Error::Policy),
        Err(RemoteError::Denied) => Err(Error::Denied),
        Err(RemoteError::Service(error)) => Err(error.into()),
        Err(RemoteError::Bus { message, hint }) => Err(Error::Bus { message, hint }),
    }
}

impl<E: Embedded> Access<E> {
    pub fn new(remote: Option<Remote>, embedded: E) -> Self {
        Self { remote, embedded }
    }

    /// What the running service says of itself.
    pub async fn service(&self) -> Result<Service, Error> {
        let Some(remote) = &self.remote else { return Ok(Service::NoBus) };
        let properties = present(remote.properties().await)?;
        Ok(properties.map_or(Service::NotRunning, Service::Running))
    }

    pub async fn check(&self) -> Result<Checked, Error> {
        match self.read(async |service| service.check().await).await? {
            Some(checked) => Ok(checked),
            None => Ok(self.embedded.open()?.check().await?),
        }
    }

    pub async fn update(&self, units: &[UnitName], trigger: Trigger) -> Result<Report, Error> {
        let theirs = async |service: Caller<'_>| service.update(units, trigger).await;
        self.work(theirs, async |here| here.update(units, trigger).await).await
    }

    pub async fn roll_back(&self, units: &[UnitName], to: Option<&str>) -> Result<Report, Error> {
        let theirs = async |service: Caller<'_>| service.roll_back(units, to).await;
        self.work(theirs, async |here| here.roll_back(units, to).await).await
    }

    /// Whoever does it, a person may look on, and leave. What the service began it goes on with.
    async fn work(
        &self,
        theirs: impl AsyncFn(Caller<'_>) -> Result<Report, RemoteError>,
        ours: impl AsyncFn(&E::Api) -> Result<Report, api::Error>,
    ) -> Result<Report, Error> {
        let asked = self.change(theirs);
        match until_interrupted(Box::pin(self.looked_on(asked))).await {
            None => return Err(Error::Left),
            Some(answer) => {
                if let Some(report) = answer? {
                    return Ok(report);
                }
            }
        }
        let here = self.embedded.open()?;
        match until_interrupted(Box::pin(ours(&here))).await {
            None => Err(Error::Interrupted),
            Some(report) => Ok(report?),
        }
    }

    pub async fn auto_update(&self, flags: &AutoUpdate) -> Result<AutoUpdated, Error> {
        let done = until_interrupted(Box::pin(self.embedded.auto_update(flags))).await;
        done.unwrap_or(Err(Error::Interrupted))
    }

    /// What is seen on the host. That nothing can be checked is part of it.
    pub async fn facts(&self) -> Result<Facts, Error> {
        let checked = match self.check().await {
            Err(Error::Service(error)) => Err(chain(&error)),
            checked => Ok(checked?),
        };
        let containers = match self.units().await {
            Err(Error::Service(_)) => vec![],
            containers => containers?,
        };
        self.embedded.facts(checked, &containers).await
    }

    pub async fn units(&self) -> Result<Vec<UnitStatus>, Error> {
        match self.read(async |service| service.units().await).await? {
            Some(units) => Ok(units),
            None => Ok(self.embedded.open()?.units().await?),
        }
    }

    pub async fn registries(&self) -> Result<Vec<RegistryStatus>, Error> {
        match self.read(async |service| service.registries().await).await? {
            Some(registries) => Ok(registries),
            None => Ok(self.embedded.open()?.registries().await?),
        }
    }

    pub async fn history(&self, query: &HistoryQuery) -> Result<Vec<Entry>, Error> {
        match self.read(async |service| service.history(query).await).await? {
            Some(entries) => Ok(entries),
            None => Ok(self.embedded.open()?.history(query).await?),
        }
    }

    pub async fn hold(&self, units: &[UnitName], hold: &Holding) -> Result<Hold, Error> {
        match self.change(async |service| service.hold(units, hold).await).await? {
            Some(hold) => Ok(hold),
            None => Ok(self.embedded.open()?.hold(units, hold).await?),
        }
    }

    pub async fn unhold(&self, units: &[UnitName]) -> Result<Vec<UnitName>, Error> {
        match self.change(async |service| service.unhold(units).await).await? {
            Some(ended) => Ok(ended),
            None => Ok(self.embedded.open()?.unhold(units).await?),
        }
    }

    pub async fn approve(
        &self,
        units: &[UnitName],
        digest: Option<&str>,
    ) -> Result<Vec<Approval>, Error> {
        match self.change(async |service| service.approve(units, digest).await).await? {
            Some(approved) => Ok(approved),
            None => Ok(self.embedded.open()?.approve(units, digest).await?),
        }
    }

    pub async fn quarantine(&self) -> Result<Vec<Held>, Error> {
        match self.read(async |service| service.quarantine().await).await? {
            Some(held) => Ok(held),
            None => Ok(self.embedded.open()?.quarantine().await?),
        }
    }

    pub async fn clear_quarantine(&self, what: Option<&str>) -> Result<Vec<Quarantined>, Error> {
        match self.change(async |service| service.clear_quarantine(what).await).await? {
            Some(cleared) => Ok(cleared),
            None => Ok(self.embedded.open()?.clear_quarantine(what).await?),
        }
    }

    /// Asks the service where it runs.
    async fn read<T>(
        &self,
        ask: impl AsyncFn(Caller<'_>) -> Result<T, RemoteError>,
    ) -> Result<Option<T>, Error> {
        match &self.remote {
            Some(remote) => present(ask(remote.running()).await),
            None => Ok(None),
        }
    }

    /// Asks the service, started where it is not running.
    async fn change<T>(
        &self,
        ask: impl AsyncFn(Caller<'_>) -> Result<T, RemoteError>,
    ) -> Result<Option<T>, Error> {
        let Some(remote) = &self.remote else { return Ok(None) };
        if let Some(answer) = present(ask(remote.running()).await)? {
            return Ok(Some(answer));
        }
        self.embedded.validate()?;
        present(ask(remote.starting()).await)
    }

    /// Shows the onlooker what the service tells until `work` is done.
    async fn looked_on<T>(&self, work: impl Future<Output = T>) -> T {
        let (Some(onlooker), Some(remote)) = (self.embedded.onlooker(), &self.remote) else {
            return work.await;
        };
        // Subscribed before the call. Who cannot subscribe sees the end only.
        let mut signals = match remote.signals().await {
            Ok(signals) => signals.left_stream(),
            Err(_) => stream::pending().right_stream(),
        };
        let done = show(&mut signals, onlooker, work).await;
        // What came along with the answer.
        while let Some(Some(signal)) = signals.next().now_or_never() {
            observe::hear(&signal, onlooker);
        }
        done
    }
}

async fn show<T>(
    signals: &mut (impl Stream<Item = Signal> + Unpin),
    onlooker: &dyn Observer,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    loop {
        match future::select(signals.next(), work).await {
            Either::Left((Some(signal), rest)) => {
                observe::hear(&signal, onlooker);
                work = rest;
            }
            Either::Left((None, rest)) => return rest.await,
            Either::Right((done, _)) => return done,
        }
    }
}

/// `None` where Ctrl-C came first.
async fn until_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        // Where the signal cannot be caught, it ends the process as ever.
        Ok(()) = tokio::signal::ctrl_c() => None,
    }
}

#[cfg(test)]
mod tests;
