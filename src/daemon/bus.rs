//! The D-Bus service `org.updaterd.Updater1`.
//!
//! What must not live here: any work. Methods become [`Call`]s to the main loop; what the loop
//! does becomes properties and signals.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;
use zbus::fdo::RequestNameFlags;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::api::Error;
use super::request::{Call, Request, ask};
use super::run::Name;
use crate::model::UnitName;
use crate::update::Trigger;

/// The well-known name of the service, on the system bus or a user's session bus.
pub const NAME: &str = "org.updaterd.Updater1";
/// The one object of the service.
pub const PATH: &str = "/org/updaterd/Updater1";
/// The interface of that object.
pub const INTERFACE: &str = "org.updaterd.Updater1";
/// The prefix of the service's own error names.
pub const ERROR_PREFIX: &str = "org.updaterd.Updater1.Error";

/// From giving up the name to the moment when all calls routed here before have been handed over:
/// a matter of microseconds, generously. A call of that time is lost on systemd, which has nothing
/// to start while the service still runs: not longer than it must be.
const DRAIN: Duration = Duration::from_millis(20);

/// The most history entries that one call returns.
const MAX_HISTORY: usize = 10_000;

/// Errors as they travel on the bus; each name is stable.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.updaterd.Updater1.Error")]
pub(crate) enum BusError {
    #[zbus(error)]
    ZBus(zbus::Error),
    /// Another pass holds the lock.
    Busy(String),
    InvalidArguments(String),
    Failed(String),
}

impl From<Error> for BusError {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy(text) => Self::Busy(text),
            Error::InvalidArguments(text) => Self::InvalidArguments(text),
            Error::Failed(text) => Self::Failed(text),
        }
    }
}

/// What the daemon is doing: the property `State`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    Idle,
    Checking,
    Updating,
    Recovering,
    Stopping,
}

impl Activity {
    /// As the property has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Checking => "checking",
            Self::Updating => "updating",
            Self::Recovering => "recovering",
            Self::Stopping => "stopping",
        }
    }
}

/// The values behind the properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    pub activity: Activity,
    pub last_check: Option<Timestamp>,
    pub next_check: Option<Timestamp>,
}

impl Default for Properties {
    fn default() -> Self {
        Self { activity: Activity::Idle, last_check: None, next_check: None }
    }
}

/// What a signal tells of one unit. Digests are those of platform manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub unit: String,
    pub reference: String,
    pub old: String,
    pub new: String,
}

/// The signals of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    UpdateAvailable(Change),
    UpdateStarted(Change),
    UpdateFinished {
        change: Change,
        outcome: String,
        detail: String,
    },
    RolledBack {
        change: Change,
        cause: String,
    },
    /// Not a signal of the interface: its properties are new.
    Properties(Properties),
}

/// The object behind [`PATH`].
#[derive(Debug)]
pub(crate) struct Updater1 {
    requests: mpsc::Sender<Request>,
    properties: Arc<Mutex<Properties>>,
}

impl Updater1 {
    fn properties(&self) -> Properties {
        self.properties.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self, call: Call) -> Result<String, BusError> {
        Ok(ask(&self.requests, call).await?)
    }
}

fn units(names: &[String]) -> Result<Vec<UnitName>, BusError> {
    names
        .iter()
        .map(|name| UnitName::from_argument(name))
        .collect::<Result<_, _>>()
        .map_err(|error| BusError::InvalidArguments(error.to_string()))
}

fn timestamp(time: Option<Timestamp>) -> String {
    time.map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// Looks for container images that changed, and updates the systemd units that run them.
#[interface(name = "org.updaterd.Updater1")]
impl Updater1 {
    /// What an update would do, as a JSON document. Changes nothing.
    async fn check(&self) -> Result<String, BusError> {
        self.ask(Call::Check).await
    }

    /// Updates these units, or all where none is named; returns a JSON report when all is done,
    /// which can take minutes. The trigger is "manual" or "timer".
    async fn update(&self, units: Vec<String>, trigger: String) -> Result<String, BusError> {
        let trigger = match trigger.as_str() {
            "manual" => Trigger::Manual,
            "timer" => Trigger::Timer,
            other => {
                let message = format!("trigger {other:?} is neither \"manual\" nor \"timer\"");
                return Err(BusError::InvalidArguments(message));
            }
        };
        self.ask(Call::Update { units: self::units(&units)?, trigger }).await
    }

    /// The containers that take part, as a JSON array.
    async fn list_units(&self) -> Result<String, BusError> {
        self.ask(Call::ListUnits).await
    }

    /// The newest updates of one unit, or of all for an empty name, as a JSON array.
    async fn get_history(&self, unit: String, limit: u32) -> Result<String, BusError> {
        let unit = if unit.is_empty() { None } else { units(&[unit])?.pop() };
        let limit = usize::try_from(limit).unwrap_or(MAX_HISTORY).min(MAX_HISTORY);
        self.ask(Call::History { unit, limit }).await
    }

    /// The images that failed here and are not tried again, as a JSON array.
    async fn list_quarantine(&self) -> Result<String, BusError> {
        self.ask(Call::Quarantine).await
    }

    /// Ends the quarantine of a digest or a repository, or every one for an empty text; returns
    /// what was ended, as a JSON array.
    async fn clear_quarantine(&self, what: String) -> Result<String, BusError> {
        self.ask(Call::ClearQuarantine { what: Some(what).filter(|what| !what.is_empty()) }).await
    }

    /// Reads the configuration again. The old settings stay where the new ones are bad.
    async fn reload(&self) -> Result<(), BusError> {
        self.ask(Call::Reload).await.map(|_| ())
    }

    /// The version of the service.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// "idle", "checking", "updating", "recovering" or "stopping".
    #[zbus(property)]
    fn state(&self) -> String {
        self.properties().activity.as_str().to_owned()
    }

    /// When registries were last asked, in RFC 3339; empty where they were not yet.
    #[zbus(property)]
    fn last_check(&self) -> String {
        timestamp(self.properties().last_check)
    }

    /// When they are asked next, in RFC 3339; empty where a timer decides.
    #[zbus(property)]
    fn next_check(&self) -> String {
        timestamp(self.properties().next_check)
    }

    /// A newer image is there for a unit.
    #[zbus(signal)]
    async fn update_available(
        emitter: &SignalEmitter<'_>,
        unit: &str,
        reference: &str,
        old_digest: &str,
        new_digest: &str,
    ) -> zbus::Result<()>;

    /// A unit's update begins.
    #[zbus(signal)]
    async fn update_started(
        emitter: &SignalEmitter<'_>,
        unit: &str,
        reference: &str,
        old_digest: &str,
        new_digest: &str,
    ) -> zbus::Result<()>;

    /// A unit's update ended, one way or the other; the outcome is that of the report.
    #[zbus(signal)]
    async fn update_finished(
        emitter: &SignalEmitter<'_>,
        unit: &str,
        reference: &str,
        outcome: &str,
        detail: &str,
    ) -> zbus::Result<()>;

    /// A unit runs its old image again, because the new one failed.
    #[zbus(signal)]
    async fn rolled_back(
        emitter: &SignalEmitter<'_>,
        unit: &str,
        reference: &str,
        old_digest: &str,
        new_digest: &str,
        cause: &str,
    ) -> zbus::Result<()>;
}

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
    ) -> zbus::Result<Self> {
        let properties = Arc::new(Mutex::new(Properties::default()));
        let object = Updater1 { requests, properties: Arc::clone(&properties) };
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

#[cfg(test)]
mod tests;
