//! The service on a connection: its name, and what it sends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use tokio::sync::mpsc;
use zbus::Connection;
use zbus::fdo::RequestNameFlags;
use zbus::object_server::SignalEmitter;

use super::{Change, Fence, NAME, PATH, Properties, Signal, Updater1};
use crate::daemon::request::Request;
use crate::daemon::run::Name;

/// From giving up the name to the moment when all calls routed here before have been handed over:
/// a matter of microseconds, generously. A call of that time is lost on systemd, which has nothing
/// to start while the service still runs: not longer than it must be.
const DRAIN: Duration = Duration::from_millis(20);

/// The service on one connection.
#[derive(Debug)]
pub struct Service {
    connection: Connection,
    properties: Arc<Mutex<Properties>>,
}

impl Service {
    /// Puts the object on `connection`. The name is taken by [`Service::take_name`], once the
    /// daemon can answer.
    pub async fn serve(
        connection: Connection,
        requests: mpsc::Sender<Request>,
        fence: Fence,
    ) -> zbus::Result<Self> {
        let properties = Arc::new(Mutex::new(Properties::default()));
        let object = Updater1 { requests, fence, properties: Arc::clone(&properties) };
        connection.object_server().at(PATH, object).await?;
        Ok(Self { connection, properties })
    }

    /// Takes the well-known name; an error where another process has it.
    pub async fn take_name(&self) -> zbus::Result<()> {
        self.connection
            .request_name_with_flags(NAME, RequestNameFlags::DO_NOT_QUEUE)
            .await
            .map(|_| ())
    }

    /// Gives the name back: the bus starts a new instance for the next call. When this returns,
    /// every call that the bus had already routed here has been read and handed to its method.
    pub async fn release_name(&self) -> zbus::Result<()> {
        self.connection.release_name(NAME).await?;
        // What the bus sent before its answer has been read; its methods run in tasks of their
        // own. A ping to ourselves would tell when they have: the system bus's policy forbids it.
        tokio::time::sleep(DRAIN).await;
        Ok(())
    }

    async fn release(&self) {
        if let Err(error) = self.release_name().await {
            tracing::warn!(target: "updaterd", "cannot release {NAME}, ignoring: {error}");
        }
    }

    async fn take_again(&self) {
        if let Err(error) = self.take_name().await {
            tracing::warn!(target: "updaterd", "cannot take {NAME} again, ignoring: {error}");
        }
    }

    /// Sends one signal; a change of the properties becomes `PropertiesChanged`.
    pub async fn emit(&self, signal: &Signal) -> zbus::Result<()> {
        let emitter = SignalEmitter::new(&self.connection, PATH)?;
        match signal {
            Signal::UpdateAvailable(Change { unit, reference, old, new }) => {
                Updater1::update_available(&emitter, unit, reference, old, new).await
            }
            Signal::UpdateStarted(Change { unit, reference, old, new }) => {
                Updater1::update_started(&emitter, unit, reference, old, new).await
            }
            Signal::UpdateFinished { change, outcome, detail } => {
                let Change { unit, reference, .. } = change;
                Updater1::update_finished(&emitter, unit, reference, outcome, detail).await
            }
            Signal::RolledBack { change, cause } => {
                let Change { unit, reference, old, new } = change;
                Updater1::rolled_back(&emitter, unit, reference, old, new, cause).await
            }
            Signal::PullProgress { reference, new, received, total } => {
                Updater1::pull_progress(&emitter, reference, new, *received, *total).await
            }
            Signal::Properties(properties) => self.set_properties(properties, &emitter).await,
        }
    }

    async fn set_properties(
        &self,
        new: &Properties,
        emitter: &SignalEmitter<'_>,
    ) -> zbus::Result<()> {
        let old = {
            let mut held = self.properties.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, new.clone())
        };
        let object = self.connection.object_server().interface::<_, Updater1>(PATH).await?;
        let object = object.get().await;
        if old.activity != new.activity {
            object.state_changed(emitter).await?;
        }
        if old.last_check != new.last_check {
            object.last_check_changed(emitter).await?;
        }
        if old.next_check != new.next_check {
            object.next_check_changed(emitter).await?;
        }
        Ok(())
    }
}

impl Name for Service {
    fn release(&self) -> LocalBoxFuture<'_, ()> {
        self.release().boxed_local()
    }

    fn take(&self) -> LocalBoxFuture<'_, ()> {
        self.take_again().boxed_local()
    }
}
