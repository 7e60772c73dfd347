//! The way to one manager: over a bus, or to systemd's own socket where there is none.

use std::cell::RefCell;
use std::path::PathBuf;

use zbus::Connection;
use zbus::proxy::CacheProperties;

use super::proxy::SystemdProxy;
use super::{Error, jobs, private};

/// A connection that is subscribed to the manager's signals.
#[derive(Debug)]
pub(super) struct Link {
    systemd: RefCell<SystemdProxy<'static>>,
    /// `None` over a bus, which outlives a systemd that executes itself anew. Its own socket does
    /// not: then the connection is made again.
    socket: Option<PathBuf>,
}

impl Link {
    pub(super) async fn over_bus(connection: &Connection) -> Result<Self, Error> {
        Ok(Self { systemd: RefCell::new(subscribe(connection).await?), socket: None })
    }

    pub(super) async fn to_socket(socket: PathBuf) -> Result<Self, Error> {
        let systemd = subscribe(&private::connect(&socket).await?).await?;
        Ok(Self { systemd: RefCell::new(systemd), socket: Some(socket) })
    }

    /// Whether systemd keeps no unit loaded for who is connected like this.
    pub(super) fn is_private(&self) -> bool {
        self.socket.is_some()
    }

    /// The manager, as far as it is there.
    pub(super) async fn systemd(&self) -> Result<SystemdProxy<'static>, Error> {
        let systemd = self.systemd.borrow().clone();
        let Some(socket) = &self.socket else { return Ok(systemd) };
        if !systemd.inner().connection().is_closed() {
            return Ok(systemd);
        }
        let systemd = subscribe(&private::connect(socket).await?).await?;
        self.systemd.replace(systemd.clone());
        Ok(systemd)
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
