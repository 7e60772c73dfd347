//! The service on the bus, as a caller sees it.

use futures_util::future;
use futures_util::stream::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use zbus::proxy::MethodFlags;
use zbus::{Connection, Proxy};

use crate::daemon::api::{Checked, Error, Held, HistoryQuery, Holding, RegistryStatus, UnitStatus};
use crate::daemon::bus::{Change, ERROR_PREFIX, INTERFACE, NAME, PATH, Signal};
use crate::model::UnitName;
use crate::plan::{Approval, Hold, Quarantined};
use crate::update::{Entry, Report, Trigger};

/// Why a call to the service failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nobody has the name, and nobody was to be started or could be.
    #[error("no updaterd on the bus")]
    Absent,
    /// The service's own answer.
    #[error(transparent)]
    Service(#[from] Error),
    /// The bus lets only root call it.
    #[error("the bus refused the call")]
    Denied,
    /// Whatever else: gone in the middle, not started.
    #[error("{message}")]
    Bus { message: String, hint: &'static str },
}

/// A connection to the bus that the service is on.
#[derive(Debug, Clone)]
pub struct Remote {
    connection: Connection,
}

/// What the service says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Properties {
    pub version: String,
    pub state: String,
    /// RFC 3339; empty where there was none.
    pub last_check: String,
    /// RFC 3339; empty where a timer decides.
    pub next_check: String,
}

impl Remote {
    /// The service on a bus that is connected to.
    pub fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// Calls the service where it runs, and never starts it.
    pub fn running(&self) -> Caller<'_> {
        Caller { remote: self, flags: MethodFlags::NO_AUTO_START }
    }

    /// Calls the service, and has the bus start it where it is not running.
    pub fn starting(&self) -> Caller<'_> {
        Caller { remote: self, flags: MethodFlags::empty() }
    }

    /// The service's properties; does not start it.
    pub async fn properties(&self) -> Result<Properties, RemoteError> {
        let interface = "org.freedesktop.DBus.Properties";
        let proxy = self.proxy(interface).await?;
        let reader = MethodFlags::NO_AUTO_START;
        let all: Option<std::collections::HashMap<String, zbus::zvariant::OwnedVariant>> =
            proxy.call_with_flags("GetAll", reader, &(INTERFACE,)).await.map_err(classify)?;
        let text = |name: &str| {
            let value = all.as_ref().and_then(|all| all.get(name));
            value.and_then(|value| <&str>::try_from(&**value).ok()).unwrap_or_default().to_owned()
        };
        Ok(Properties {
            version: text("Version"),
            state: text("State"),
            last_check: text("LastCheck"),
            next_check: text("NextCheck"),
        })
    }

    /// What the service tells of its work from now on, whether it runs already or not.
    ///
    /// # Errors
    /// Where the bus does not let us listen.
    pub async fn signals(&self) -> Result<impl Stream<Item = Signal> + Unpin, RemoteError> {
        let proxy = self.proxy(INTERFACE).await?;
        let messages = proxy.receive_all_signals().await.map_err(classify)?;
        Ok(messages.filter_map(|message| future::ready(signal(&message))))
    }

    async fn proxy(&self, interface: &'static str) -> Result<Proxy<'static>, RemoteError> {
        zbus::proxy::Builder::new(&self.connection)
            .destination(NAME)
            .path(PATH)
            .interface(interface)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .map_err(classify)
    }
}

/// One way to call the service.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    remote: &'a Remote,
    flags: MethodFlags,
}

impl Caller<'_> {
    async fn call<B, T>(&self, method: &'static str, body: &B) -> Result<T, RemoteError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
        T: DeserializeOwned,
    {
        let proxy = self.remote.proxy(INTERFACE).await?;
        let answer: Option<String> =
            proxy.call_with_flags(method, self.flags, body).await.map_err(classify)?;
        serde_json::from_str(&answer.unwrap_or_default()).map_err(|error| RemoteError::Bus {
            message: format!("cannot read updaterd's answer to {method}: {error}"),
            hint: "updaterctl and updaterd may be of different versions: restart updaterd.service",
        })
    }

    pub async fn check(&self) -> Result<Checked, RemoteError> {
        self.call("Check", &()).await
    }

    pub async fn update(
        &self,
        units: &[UnitName],
        trigger: Trigger,
    ) -> Result<Report, RemoteError> {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        self.call("Update", &(names, trigger.to_string())).await
    }

    pub async fn roll_back(
        &self,
        units: &[UnitName],
        to: Option<&str>,
    ) -> Result<Report, RemoteError> {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        self.call("Rollback", &(names, to.unwrap_or_default())).await
    }

    pub async fn units(&self) -> Result<Vec<UnitStatus>, RemoteError> {
        self.call("ListUnits", &()).await
    }

    pub async fn registries(&self) -> Result<Vec<RegistryStatus>, RemoteError> {
        self.call("ListRegistries", &()).await
    }

    pub async fn history(&self, query: &HistoryQuery) -> Result<Vec<Entry>, RemoteError> {
        let HistoryQuery { units, since, outcomes, limit } = query;
        let units: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        let since = since.map(|since| since.to_string()).unwrap_or_default();
        let outcomes: Vec<&str> = outcomes.iter().map(|outcome| outcome.name()).collect();
        let limit = u32::try_from(*limit).unwrap_or(u32::MAX);
        self.call("GetHistory", &(units, since, outcomes, limit)).await
    }

    pub async fn hold(&self, units: &[UnitName], hold: &Holding) -> Result<Hold, RemoteError> {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        let until = hold.until.map(|until| until.to_string()).unwrap_or_default();
        self.call("Hold", &(names, until, &hold.reason)).await
    }

    pub async fn unhold(&self, units: &[UnitName]) -> Result<Vec<UnitName>, RemoteError> {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        self.call("Unhold", &(names,)).await
    }

    pub async fn approve(
        &self,
        units: &[UnitName],
        digest: Option<&str>,
    ) -> Result<Vec<Approval>, RemoteError> {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        self.call("Approve", &(names, digest.unwrap_or_default())).await
    }

    pub async fn quarantine(&self) -> Result<Vec<Held>, RemoteError> {
        self.call("ListQuarantine", &()).await
    }

    pub async fn clear_quarantine(
        &self,
        what: Option<&str>,
    ) -> Result<Vec<Quarantined>, RemoteError> {
        self.call("ClearQuarantine", &(what.unwrap_or_default(),)).await
    }
}

/// A signal of the interface; others may come with a later version.
fn signal(message: &zbus::Message) -> Option<Signal> {
    let body = message.body();
    let header = message.header();
    Some(match header.member()?.as_str() {
        "UpdateAvailable" => Signal::UpdateAvailable(change(body.deserialize().ok()?)),
        "UpdateStarted" => Signal::UpdateStarted(change(body.deserialize().ok()?)),
        "RolledBack" => {
            let (unit, reference, old, new, cause) = body.deserialize().ok()?;
            Signal::RolledBack { change: change((unit, reference, old, new)), cause }
        }
        "UpdateFinished" => {
            let (unit, reference, outcome, detail) = body.deserialize().ok()?;
            let change = change((unit, reference, String::new(), String::new()));
            Signal::UpdateFinished { change, outcome, detail }
        }
        "PullProgress" => {
            let (reference, new, received, total) = body.deserialize().ok()?;
            Signal::PullProgress { reference, new, received, total }
        }
        _ => return None,
    })
}

fn change((unit, reference, old, new): (String, String, String, String)) -> Change {
    Change { unit, reference, old, new }
}

/// Tells the service's own errors, its absence, and everything else apart.
fn classify(error: zbus::Error) -> RemoteError {
    let (name, message) = match &error {
        zbus::Error::MethodError(name, message, _) => {
            (name.to_string(), message.clone().unwrap_or_else(|| name.to_string()))
        }
        zbus::Error::FDO(error) => {
            use zbus::DBusError as _;
            let message = error.description().unwrap_or_default().to_owned();
            (error.name().to_string(), message)
        }
        other => {
            let hint = "\"systemctl status dbus.service\" shows whether the bus is running";
            return RemoteError::Bus { message: format!("the bus failed: {other}"), hint };
        }
    };
    if let Some(own) = name.strip_prefix(ERROR_PREFIX).and_then(|own| own.strip_prefix('.')) {
        return RemoteError::Service(match own {
            "Busy" => Error::Busy(message),
            "InvalidArguments" => Error::InvalidArguments(message),
            _ => Error::Failed(message),
        });
    }
    let (message, hint) = match name.strip_prefix("org.freedesktop.DBus.Error.") {
        Some("ServiceUnknown" | "NameHasNoOwner") => return RemoteError::Absent,
        Some("AccessDenied") => return RemoteError::Denied,
        Some("NoReply" | "Disconnected") => (
            "updaterd went away before it answered".to_owned(),
            "it takes up what it began; \"updaterctl history\" shows how it ended",
        ),
        _ => (
            format!("updaterd could not be called: {message}"),
            "\"systemctl status updaterd.service\" shows why",
        ),
    };
    RemoteError::Bus { message, hint }
}

#[cfg(test)]
pub(crate) mod tests;
