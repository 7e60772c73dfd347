//! Where the service stands on the bus: from its start on, or from when there is a bus.
//!
//! A host without one is served all the same; nobody can call the service there.

use std::cell::OnceCell;
use std::time::Duration;

use futures_util::future::{self, FutureExt as _, LocalBoxFuture};
use tokio::sync::mpsc;
use tokio::time::Instant;
use zbus::{Connection, fdo};

use super::bus::{Fence, NAME, Outgoing, Service, Signal};
use super::host::connect;
use super::request::Request;
use super::run::Name;
use super::start::Error;
use crate::config::Scope;

/// How often a bus is looked for where there was none. `updaterctl` waits for the service to answer
/// as soon as there is one, for at most 25 s.
const LOOK: Duration = Duration::from_secs(10);

/// The service's place on the bus.
#[derive(Debug)]
pub(super) struct Presence {
    requests: mpsc::Sender<Request>,
    fence: Fence,
    /// `None` as long as there is no bus.
    place: OnceCell<Place>,
}

#[derive(Debug)]
pub(super) struct Place {
    connection: Connection,
    service: Service,
}

impl Presence {
    /// Nowhere yet; calls will go to `requests`, and their answers through `fence`.
    pub(super) fn new(requests: mpsc::Sender<Request>, fence: Fence) -> Self {
        Self { requests, fence, place: OnceCell::new() }
    }

    /// Offers the service on the bus behind `connection`; `properties` is what it shows from the
    /// first call on.
    ///
    /// # Errors
    /// Where the bus does not have it, or another process has its name.
    pub(super) async fn take_place(
        &self,
        connection: Connection,
        properties: Option<Signal>,
    ) -> Result<&Place, Error> {
        let service = Service::serve(connection.clone(), self.requests.clone(), self.fence.clone());
        let service = service.await.map_err(Error::Serve)?;
        if let Some(properties) = properties {
            emit(&service, &properties).await;
        }
        service.take_name().await.map_err(|error| match is_denied(&error) {
            true => Error::NotAllowed(error),
            false => Error::Name(error),
        })?;
        Ok(self.place.get_or_init(|| Place { connection, service }))
    }

    /// Sends `signals` as they come, until there are no more; where there is no bus, from when there
    /// is one.
    ///
    /// # Errors
    /// Where the bus goes away, or does not have the service.
    pub(super) async fn tell(
        &self,
        scope: Scope,
        mut signals: mpsc::UnboundedReceiver<Outgoing>,
    ) -> Result<(), Error> {
        let place = match self.place.get() {
            Some(place) => place,
            None => match self.find_place(scope, &mut signals).await? {
                Some(place) => place,
                None => return Ok(()),
            },
        };
        loop {
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(Outgoing::Signal(signal)) => emit(&place.service, &signal).await,
                    Some(Outgoing::Fence(passed)) => drop(passed.send(())),
                    None => return Ok(()),
                },
                () = place.connection.closed() => return Err(Error::BusLost),
            }
        }
    }

    /// Waits for a bus; `None` where there are no more signals before.
    async fn find_place(
        &self,
        scope: Scope,
        signals: &mut mpsc::UnboundedReceiver<Outgoing>,
    ) -> Result<Option<&Place>, Error> {
        let mut looks = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        let mut properties = None;
        let connection = loop {
            tokio::select! {
                signal = signals.recv() => match signal {
                    None => return Ok(None),
                    Some(Outgoing::Signal(signal @ Signal::Properties(_))) => {
                        properties = Some(signal);
                    }
                    // Nobody hears it.
                    Some(_) => {}
                },
                _ = looks.tick() => if let Ok(connection) = connect(scope).await {
                    break connection;
                },
            }
        };
        let place = self.take_place(connection, properties).await?;
        tracing::info!(target: "updaterd", "there is a bus now: the service is called {NAME} there");
        Ok(Some(place))
    }
}

async fn emit(service: &Service, signal: &Signal) {
    if let Err(error) = service.emit(signal).await {
        tracing::warn!(target: "updaterd", "cannot send a signal on the bus, ignoring: {error}");
    }
}

/// Whether the bus's policy forbids it.
fn is_denied(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::FDO(error) => matches!(**error, fdo::Error::AccessDenied(_)),
        zbus::Error::MethodError(name, _, _) => name.ends_with(".AccessDenied"),
        _ => false,
    }
}

/// A service that nobody can call has no name to give up.
impl Name for Presence {
    fn release(&self) -> LocalBoxFuture<'_, ()> {
        match self.place.get() {
            Some(place) => Name::release(&place.service),
            None => future::ready(()).boxed_local(),
        }
    }

    fn take(&self) -> LocalBoxFuture<'_, ()> {
        match self.place.get() {
            Some(place) => Name::take(&place.service),
            None => future::ready(()).boxed_local(),
        }
    }
}
