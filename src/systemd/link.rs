//! The way to one manager: over a bus, or to systemd's own socket where there is none.

use std::cell::RefCell;
use std::path::PathBuf;

use zbus::Connection;
use zbus::proxy::CacheProperties;

use super::proxy::SystemdProxy;
use super::{Error, jobs, private};

/// A way to the manager, subscribed to its signals.
#[derive(Debug)]
pub(super) enum Link {
    /// A bus outlives a systemd that executes itself anew, and passes on what is asked for alone.
    Bus(SystemdProxy<'static>),
    /// systemd's own socket does neither: a connection to it is made when it is needed.
    Socket { path: PathBuf, systemd: RefCell<Option<SystemdProxy<'static>>> },
}

impl Link {
    pub(super) async fn over_bus(connection: &Connection) -> Result<Self, Error> {
        Ok(Self::Bus(subscribe(connection).await?))
    }

    pub(super) async fn to_socket(path: PathBuf) -> Result<Self, Error> {
        let systemd = subscribe(&private::connect(&path).await?).await?;
        Ok(Self::Socket { path, systemd: RefCell::new(Some(systemd)) })
    }

    /// Whether systemd keeps no unit loaded for who is connected like this.
    pub(super) fn is_private(&self) -> bool {
        matches!(self, Self::Socket { .. })
    }

    /// The manager on a bus, which keeps units loaded for who asks for it.
    pub(super) fn bus(&self) -> Option<&SystemdProxy<'static>> {
        match self {
            Self::Bus(systemd) => Some(systemd),
            Self::Socket { .. } => None,
        }
    }

    /// The manager, as far as it is there.
    pub(super) async fn systemd(&self) -> Result<SystemdProxy<'static>, Error> {
        let (path, held) = match self {
            Self::Bus(systemd) => return Ok(systemd.clone()),
            Self::Socket { path, systemd } => (path, systemd),
        };
        let before = held.borrow().clone();
        if let Some(systemd) = before.filter(|held| !held.inner().connection().is_closed()) {
            return Ok(systemd);
        }
        let systemd = subscribe(&private::connect(path).await?).await?;
        held.replace(Some(systemd.clone()));
        Ok(systemd)
    }

    /// Lets go of a connection over which systemd tells of every change of every unit.
    pub(super) fn leave(&self) {
        if let Self::Socket { systemd, .. } = self {
            systemd.replace(None);
        }
    }

    /// Whether systemd was not there, for a moment or for good, rather than that it refused.
    pub(super) fn is_away(&self, error: &Error) -> bool {
        let source = match error {
            Error::Call { source, .. } => source,
            Error::Private { .. } => return true,
            _ => return false,
        };
        let Some(name) = jobs::name(source) else {
            // No answer of anybody's: the connection broke.
            return self.is_private();
        };
        match name.strip_prefix("org.freedesktop.DBus.Error.") {
            Some("NoReply" | "NameHasNoOwner" | "ServiceUnknown") => true,
            // The bus tried to start it.
            Some(name) => name.starts_with("Spawn."),
            None => false,
        }
    }
}

async fn subscribe(connection: &Connection) -> Result<SystemdProxy<'static>, Error> {
    let failed = |source| Error::Call { call: "Subscribe", unit: "the manager".into(), source };
    let systemd = SystemdProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await
        .map_err(failed)?;
    match systemd.subscribe().await {
        Ok(()) => Ok(systemd),
        Err(error) if jobs::name(&error).as_deref() == Some(ALREADY_SUBSCRIBED) => Ok(systemd),
        Err(error) => Err(failed(error)),
    }
}

const ALREADY_SUBSCRIBED: &str = "org.freedesktop.systemd1.AlreadySubscribed";
