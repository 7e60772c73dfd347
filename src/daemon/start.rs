//! The program `updaterd`: signals of the operating system, configuration, bus; then the loop.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use zbus::Connection;

use super::args::Arguments;
use super::bus::{NAME, Outbox, outbox};
use super::flight::Flight;
use super::host::{self, Host, Manner, Opener, SystemClock};
use super::notify::Desk;
use super::observe::{Journal, Observers, Signals, StatusLine};
use super::pass::Pass;
use super::presence::Presence;
use super::run::{Daemon, Ended, Loaded, Orders, Work as _};
use super::writable::{self, ReadOnly};
use crate::config::{self, Scope, Settings};
use crate::model::Failure;
use crate::model::failure::chain;
use crate::systemd::notify;
use crate::update::port::Observer as _;
use crate::update::{Outcome, OutcomeKind};

/// Calls that wait for the main loop; more wait in the bus.
const QUEUE: usize = 64;

/// How long the last signals may take to be sent.
const LAST_SIGNALS: Duration = Duration::from_secs(1);

/// Why the service could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("bad configuration")]
    Configuration(#[source] config::Error),
    #[error("cannot keep anything where the configuration says")]
    ReadOnly(#[source] ReadOnly),
    #[error("cannot set the service up")]
    Setup(#[source] Failure),
    #[error("cannot connect to the bus")]
    Bus(#[source] crate::systemd::Error),
    #[error("cannot offer the service on the bus")]
    Serve(#[source] zbus::Error),
    #[error("cannot take the name {NAME}: does another updaterd run?")]
    Name(#[source] zbus::Error),
    #[error(
        "the bus does not let this process have the name {NAME}: \"systemctl reload dbus.service\" \
         has it read who may"
    )]
    NotAllowed(#[source] zbus::Error),
    #[error("the bus went away")]
    BusLost,
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    #[error("recovery failed")]
    Recovery(#[source] super::api::Error),
    #[error("some interrupted update could not be brought to an end; see \"updaterctl history\"")]
    NotRecovered,
}

impl Error {
    /// What the process exits with: 78 (`EX_CONFIG`, sysexits(3)) where nothing but another
    /// configuration helps, so that systemd does not start it again; else 1.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Configuration(_) | Self::ReadOnly(_)) { 78 } else { 1 }
    }
}

/// Does what the command line says, until it is done or asked to stop.
///
/// # Errors
/// Where it could not start, or lost the bus.
pub async fn start(arguments: Arguments) -> Result<(), Error> {
    let scope = arguments.scope();
    let settings = config::load(scope).map_err(Error::Configuration)?;
    if arguments.check_config {
        return Ok(());
    }
    writable::probe(&settings.paths).map_err(Error::ReadOnly)?;
    if arguments.recover_only {
        recover(scope, &settings).await
    } else {
        serve(scope, &settings).await
    }
}

/// `updaterd --recover-only`
async fn recover(scope: Scope, settings: &Settings) -> Result<(), Error> {
    let observers = Observers::default().with(Journal(scope));
    let opener = Opener {
        program: "updaterd --recover-only",
        connection: None,
        observers,
        flight: Flight::default(),
        manner: manner(scope),
        desk: None,
    };
    let pass = host::open(scope, settings, opener).map_err(Error::Setup)?;
    let report = pass.recover().await.map_err(Error::Recovery)?;
    let is_unfinished = |outcome: &Outcome| {
        let bad = matches!(outcome.result, OutcomeKind::NeedsOperator | OutcomeKind::Suspended);
        bad && !outcome.restored
    };
    let unfinished = report.outcomes.iter().any(is_unfinished);
    if unfinished { Err(Error::NotRecovered) } else { Ok(()) }
}

async fn serve(scope: Scope, settings: &Settings) -> Result<(), Error> {
    let (stop, reload) = (listen_for_stop()?, listen_for_reload()?);
    let connection = find_bus(scope).await?;
    let (request_sender, requests) = mpsc::channel(QUEUE);
    let (outbox, signals) = outbox();
    let flight = Flight::default();
    let desk = Desk::default();
    let opened = |settings: &Settings| -> Result<Loaded<Pass<Host>>, Failure> {
        let opener = Opener {
            program: "updaterd",
            connection: connection.clone(),
            observers: observers(scope, &outbox),
            flight: flight.clone(),
            manner: manner(scope),
            desk: Some(desk.clone()),
        };
        let pass = host::open(scope, settings, opener)?;
        Ok(Loaded { work: Rc::new(pass), interval: host::interval(settings) })
    };
    let reloaded = || {
        let settings = config::load(scope).map_err(|error| chain(&error))?;
        writable::probe(&settings.paths).map_err(|error| chain(&error))?;
        opened(&settings).map_err(|failure| failure.message)
    };
    let first = opened(settings).map_err(Error::Setup)?;
    let presence = Presence::new(request_sender, outbox.fence());
    if let Some(connection) = &connection {
        presence.take_place(connection.clone(), None).await?;
    }
    let mut telling = pin!(presence.tell(scope, signals));
    let daemon = Daemon {
        reload: &reloaded,
        clock: &SystemClock::default(),
        name: &presence,
        flight: flight.clone(),
        watchdog: notify::watchdog_interval(),
        signals: outbox.clone(),
        random: &fastrand::f64,
        lingers: &|| desk.is_busy(),
    };
    let orders = Orders { requests, reload, stop };
    let work = Rc::clone(&first.work);
    let sweeping = async {
        work.sweep().await;
        pending::<Infallible>().await
    };
    let ended = tokio::select! {
        ended = daemon.run(first, orders) => ended,
        never = sweeping => match never {},
        // It has no end of its own while there is somebody who could say more.
        lost = &mut telling => return lost,
        never = desk.run() => match never {},
    };
    if ended == Ended::StoppedInFlight {
        let observers = observers(scope, &outbox);
        flight.suspended().iter().for_each(|event| observers.event(event));
    }
    // What was told last is still to be sent: without a sender, the telling ends.
    drop(daemon);
    drop(outbox);
    if tokio::time::timeout(LAST_SIGNALS, telling).await.is_err() {
        tracing::warn!(target: "updaterd", "the bus does not take the last signals, ignoring");
    }
    Ok(())
}

/// The bus of the scope; `None` on a host that has none, which is served all the same.
async fn find_bus(scope: Scope) -> Result<Option<Connection>, Error> {
    match host::connect(scope).await {
        Ok(connection) => Ok(Some(connection)),
        Err(error) if error.is_no_bus() => {
            tracing::info!(
                target: "updaterd",
                "there is no bus: systemd is spoken to directly, and updaterctl works by itself"
            );
            Ok(None)
        }
        Err(error) => Err(Error::Bus(error)),
    }
}

/// The host's unit is confined; a user's manager can confine nothing. By hand, nobody is.
fn manner(scope: Scope) -> Manner {
    let in_unit = std::env::var_os("INVOCATION_ID").is_some();
    Manner { confined: scope == Scope::System && in_unit, ..Manner::default() }
}

/// Who hears of what the service does.
fn observers(scope: Scope, signals: &Outbox) -> Observers {
    Observers::default().with(Journal(scope)).with(StatusLine).with(Signals(signals.clone()))
}

/// SIGTERM and SIGINT.
fn listen_for_stop() -> Result<oneshot::Receiver<()>, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let (sender, stop) = oneshot::channel();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = sender.send(());
    });
    Ok(stop)
}

/// SIGHUP; several while one is served are one.
fn listen_for_reload() -> Result<mpsc::Receiver<()>, Error> {
    let mut hangup = signal(SignalKind::hangup()).map_err(Error::Signals)?;
    let (sender, reload) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let _ = sender.try_send(());
        }
    });
    Ok(reload)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// How each of them is run, which is its own; all else is what it may do.
    const OWN: &[&str] = &[
        "Type",
        "NotifyAccess",
        "BusName",
        "ExecStart",
        "ExecReload",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
        "SuccessExitStatus",
        "WatchdogSec",
        "TimeoutStartSec",
        "TimeoutStopSec",
    ];

    fn limits(unit: &str) -> BTreeSet<&str> {
        let (_, service) = unit.split_once("[Service]\n").unwrap();
        let lines = service.split("\n[").next().unwrap().lines();
        lines
            .filter(|line| !line.starts_with('#'))
            .filter(|line| line.split_once('=').is_some_and(|(key, _)| !OWN.contains(&key)))
            .collect()
    }

    #[test]
    fn every_unit_is_as_confined_as_the_service() {
        let service = limits(include_str!("../../systemd/system/updaterd.service"));
        assert!(service.contains("ProtectSystem=strict"));
        for unit in [
            include_str!("../../systemd/system/updaterd-recover.service"),
            include_str!("../../systemd/system/updaterd-check.service"),
        ] {
            assert_eq!(service, limits(unit));
        }
    }
}
