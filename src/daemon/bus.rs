//! The D-Bus service `org.updaterd.Updater1`.
//!
//! Here is the interface; [`signal`] has the values behind it, [`service`] the object on a
//! connection.
//!
//! What must not live here: any work. Methods become [`Call`]s to the main loop; what the loop
//! does becomes properties and signals.

mod outbox;
mod service;
mod signal;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc;
use zbus::interface;
use zbus::object_server::SignalEmitter;

pub use self::outbox::{Fence, Outbox, Outgoing, outbox};
pub use self::service::Service;
pub use self::signal::{Activity, Change, Properties, Signal};

use super::api::{Error, HistoryQuery, Holding};
use super::request::{Call, Request, ask};
use crate::model::UnitName;
use crate::model::failure::excerpt;
use crate::update::{OutcomeKind, Trigger};

/// The well-known name of the service, on the system bus or a user's session bus.
pub const NAME: &str = "org.updaterd.Updater1";
/// The one object of the service.
pub const PATH: &str = "/org/updaterd/Updater1";
/// The interface of that object.
pub const INTERFACE: &str = "org.updaterd.Updater1";
/// The prefix of the service's own error names.
pub const ERROR_PREFIX: &str = "org.updaterd.Updater1.Error";

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

/// The object behind [`PATH`].
#[derive(Debug)]
pub(crate) struct Updater1 {
    requests: mpsc::Sender<Request>,
    fence: Fence,
    properties: Arc<Mutex<Properties>>,
}

impl Updater1 {
    fn properties(&self) -> Properties {
        self.properties.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self, call: Call) -> Result<String, BusError> {
        let answer = ask(&self.requests, call).await;
        // Who looks on hears how it ended before the answer comes.
        self.fence.passed().await;
        Ok(answer?)
    }
}

fn units(names: &[String]) -> Result<Vec<UnitName>, BusError> {
    names
        .iter()
        .map(|name| UnitName::from_argument(name))
        .collect::<Result<_, _>>()
        .map_err(|error| BusError::InvalidArguments(error.to_string()))
}

/// One at least: of what none is named for, all would be too many.
fn some_units(names: &[String]) -> Result<Vec<UnitName>, BusError> {
    match names.is_empty() {
        true => Err(BusError::InvalidArguments("no unit is named".to_owned())),
        false => units(names),
    }
}

fn time(time: &str) -> Result<Option<Timestamp>, BusError> {
    let invalid = |error| BusError::InvalidArguments(format!("{}: {error}", excerpt(time)));
    Some(time).filter(|time| !time.is_empty()).map(|time| time.parse().map_err(invalid)).transpose()
}

fn outcomes(names: &[String]) -> Result<Vec<OutcomeKind>, BusError> {
    let end = |name: &String| {
        OutcomeKind::end(name).ok_or_else(|| {
            let known = OutcomeKind::ENDS.map(OutcomeKind::name).join(", ");
            let message = format!("no update ends as {:?}, but as {known}", excerpt(name));
            BusError::InvalidArguments(message)
        })
    };
    names.iter().map(end).collect()
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

    /// Has these units go back to an image that they had, out of storage: that of the digest, or its
    /// beginning; for an empty text what each ran before its last update. Returns a JSON report when
    /// all is done, which can take minutes.
    async fn rollback(&self, units: Vec<String>, to: String) -> Result<String, BusError> {
        let to = Some(to).filter(|to| !to.is_empty());
        self.ask(Call::Rollback { units: some_units(&units)?, to }).await
    }

    /// The containers that take part, as a JSON array.
    async fn list_units(&self) -> Result<String, BusError> {
        self.ask(Call::ListUnits).await
    }

    /// The registries' hosts that images are checked at, and how they stand, as a JSON array.
    async fn list_registries(&self) -> Result<String, BusError> {
        self.ask(Call::ListRegistries).await
    }

    /// The newest updates of these units, or of all where none is named, that ended since the time
    /// (RFC 3339; empty for any) in one of these ways, or in any where none is named; a JSON array.
    async fn get_history(
        &self,
        units: Vec<String>,
        since: String,
        outcomes: Vec<String>,
        limit: u32,
    ) -> Result<String, BusError> {
        let query = HistoryQuery {
            units: self::units(&units)?,
            since: time(&since)?,
            outcomes: self::outcomes(&outcomes)?,
            limit: usize::try_from(limit).unwrap_or(MAX_HISTORY).min(MAX_HISTORY),
        };
        self.ask(Call::History(query)).await
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

    /// Has these units left alone until the time (RFC 3339; empty until somebody ends it), for the
    /// reason; returns that as a JSON object.
    async fn hold(
        &self,
        units: Vec<String>,
        until: String,
        reason: String,
    ) -> Result<String, BusError> {
        let units = some_units(&units)?;
        let hold = Holding { until: time(&until)?, reason };
        self.ask(Call::Hold { units, hold }).await
    }

    /// Ends the holds of these units, or every one where none is named; returns the units that were
    /// held, as a JSON array.
    async fn unhold(&self, units: Vec<String>) -> Result<String, BusError> {
        self.ask(Call::Unhold { units: self::units(&units)? }).await
    }

    /// Approves images that these units wait for, or all where none is named: the one of the digest,
    /// or its beginning; for an empty text whichever it is. Returns what was approved, as a JSON array.
    async fn approve(&self, units: Vec<String>, digest: String) -> Result<String, BusError> {
        let digest = Some(digest).filter(|digest| !digest.is_empty());
        self.ask(Call::Approve { units: self::units(&units)?, digest }).await
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

    /// An image is being pulled: so many bytes have come, of so many of the layers that were missing. Once
    /// a second at most; not of Podman's pulls, of which no more is known than that they go on.
    #[zbus(signal)]
    async fn pull_progress(
        emitter: &SignalEmitter<'_>,
        reference: &str,
        new: &str,
        received: u64,
        total: u64,
    ) -> zbus::Result<()>;

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

#[cfg(test)]
mod tests;
