//! The real edges of this host, put together for a pass.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use zbus::Connection;

use super::flight::{Braked, Connect, Flight};
use super::mortal::Mortal;
use super::notify::{self, Desk, Teller};
use super::observe::Observers;
use super::pass::Pass;
use super::registries::Registries;
use super::schedule::Interval;
use crate::config::{PodmanSettings, Schedule, Scope, Settings};
use crate::engine::{Any, Native, Podman, podman};
use crate::ledger::Ledger;
use crate::model::{Failure, FailureKind, Platform};
use crate::plan::retention::Limits;
use crate::probe::Prober;
use crate::registry::{self, Proxies};
use crate::store::{Store, containers::Records};
use crate::systemd::{self, journal::Journal};
use crate::update::port::{Clock, World};
use crate::update::{Options, UnitOptions};

/// The ports of this host, or of one user on it.
pub struct Host {
    registries: Registries,
    engines: Vec<Mortal<Any<Registries>>>,
    manager: Mortal<Braked<ToManager>>,
    journal: Journal,
    prober: Prober,
    ledger: Mortal<Ledger>,
    clock: SystemClock,
    observers: Observers,
}

impl World for Host {
    type Registry = Registries;
    type Engine = Mortal<Any<Registries>>;
    type Manager = Mortal<Braked<ToManager>>;
    type Journal = Journal;
    type Prober = Prober;
    type Ledger = Mortal<Ledger>;
    type Clock = SystemClock;
    type Observer = Observers;

    fn registry(&self) -> &Self::Registry {
        &self.registries
    }

    fn engines(&self) -> &[Self::Engine] {
        &self.engines
    }

    fn manager(&self) -> &Self::Manager {
        &self.manager
    }

    fn journal(&self) -> &Self::Journal {
        &self.journal
    }

    fn prober(&self) -> &Self::Prober {
        &self.prober
    }

    fn ledger(&self) -> &Self::Ledger {
        &self.ledger
    }

    fn clock(&self) -> &Self::Clock {
        &self.clock
    }

    fn observer(&self) -> &Self::Observer {
        &self.observers
    }
}

/// How to reach systemd's manager.
#[derive(Debug)]
pub struct ToManager {
    scope: Scope,
    /// A connection that is there already; else one is made when it is needed.
    connection: Option<Connection>,
    restart_timeout: Duration,
}

impl Connect for ToManager {
    type Manager = systemd::Manager;

    async fn connect(&self) -> Result<systemd::Manager, Failure> {
        let connected = match &self.connection {
            Some(connection) => Ok(connection.clone()),
            None => connect(self.scope).await,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(error) if error.is_no_bus() => return self.connect_without_bus().await,
            Err(error) => return Err(error.into()),
        };
        let manager = systemd::Manager::new(&connection, self.restart_timeout).await?;
        Ok(match self.scope {
            Scope::System => manager.with_logind(Some(connection)),
            Scope::User => manager.with_logind(system_bus().await),
        })
    }
}

impl ToManager {
    /// systemd can be spoken to all the same.
    async fn connect_without_bus(&self) -> Result<systemd::Manager, Failure> {
        let run = self.scope.runtime_dir();
        let run = run.map_err(|error| Failure::from_error(FailureKind::Configuration, &error))?;
        let socket = systemd::private::socket(&run);
        let manager = systemd::Manager::without_bus(socket, self.restart_timeout).await?;
        Ok(match self.scope {
            Scope::System => manager,
            Scope::User => manager.with_logind(system_bus().await),
        })
    }
}

/// A user's rollout delays a shutdown as well; without a system bus nothing does.
async fn system_bus() -> Option<Connection> {
    connect(Scope::System).await.ok()
}

/// Connects to the bus of the scope, which its manager and the service are on.
///
/// # Errors
/// Where there is none.
pub async fn connect(scope: Scope) -> Result<Connection, systemd::Error> {
    let (bus, result) = match scope {
        Scope::System => ("system", Connection::system().await),
        Scope::User => ("session", Connection::session().await),
    };
    result.map_err(|source| systemd::Error::Connect { bus, source })
}

/// The time as it is.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn zone(&self, name: Option<&str>) -> Option<TimeZone> {
        name.map_or_else(|| Some(TimeZone::system()), |name| TimeZone::get(name).ok())
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Who opens a host, and what it brings along.
pub struct Opener {
    /// What others are told while this process holds the pass lock.
    pub program: &'static str,
    /// The bus that the process is on already.
    pub connection: Option<Connection>,
    /// Who hears of everything.
    pub observers: Observers,
    /// What is in flight in this process, whatever settings it began under.
    pub flight: Flight,
    pub manner: Manner,
    /// Where it is told from how updates ended; without one, each pass tells it by itself at its end.
    pub desk: Option<Desk>,
}

/// How the work is done, beyond what the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manner {
    /// Whether this process may not do what Podman must, as the service may not: Podman is called in
    /// units of its own then.
    pub confined: bool,
    /// Whether a person sees what Podman says while it pulls.
    pub shown: bool,
    /// A credentials file for all images whose container names none.
    pub authfile: Option<PathBuf>,
    /// As `--tls-verify`; `None` leaves it to registries.conf.
    pub tls_verify: Option<bool>,
    /// Whether a failed update goes back, whatever the configuration says.
    pub rollback: Option<bool>,
}

/// Puts a pass together.
///
/// # Errors
/// Where the store has no place. What cannot be read is said by those who need it.
pub fn open(scope: Scope, settings: &Settings, opener: Opener) -> Result<Pass<Host>, Failure> {
    let Opener { program, connection, observers, flight, manner, desk } = opener;
    let tls_verify = manner.tls_verify;
    let mut asking =
        registry::Options { tls_verify, ..registry::Options::of(&settings.paths.state) };
    asking.rate = settings.max_download_rate;
    asking.proxies = asking.proxies.configured(&settings.registry);
    asking.paths.authfile = manner.authfile.clone().or(asking.paths.authfile);
    let store = Store::open(&settings.paths.state)?;
    let (authfile, proxies) = (asking.paths.authfile.clone(), asking.proxies.clone());
    let registries = Registries::new(asking);
    let podman =
        podman(scope, settings, &manner, (authfile, proxies), (store.clone(), registries.clone()));
    let records = Records::open(&settings.paths.run);
    let native = Native::new(store, records, registries.clone(), scope)
        .leaving(settings.min_free)
        .no_faster_than(settings.max_download_rate)
        .seen_by(observers.clone());
    let manager = ToManager { scope, connection, restart_timeout: settings.restart_timeout };
    let (observers, teller) = tellers(scope, settings, observers, desk);
    let host = Host {
        journal: Journal::new(scope),
        prober: Prober,
        engines: [Any::Native(native)].into_iter().chain(podman).map(Mortal).collect(),
        registries,
        manager: Mortal(Braked::new(manager, flight.clone())),
        ledger: Mortal(Ledger::new(&settings.paths.state.join("ledger"))),
        clock: SystemClock::default(),
        observers: observers.with(flight),
    };
    let mut options = options(settings);
    if let Some(rollback) = manner.rollback {
        options.ask_for_rollback(rollback);
    }
    Ok(Pass::new(host, options, settings.paths.run.clone(), program).told_by(teller))
}

/// Has it written down how updates end, and told: by the desk, or by whom this gives.
fn tellers(
    scope: Scope,
    settings: &Settings,
    observers: Observers,
    desk: Option<Desk>,
) -> (Observers, Option<Teller>) {
    let (scribe, deliverer) = notify::open(scope, settings, desk.as_ref()).unzip();
    let observers = match scribe {
        Some(scribe) => observers.with(scribe),
        None => observers,
    };
    match desk {
        Some(desk) => {
            desk.change(deliverer);
            (observers, Some(Teller::Desk(desk)))
        }
        None => (observers, deliverer.map(Teller::Here)),
    }
}

/// Podman as an engine, where the configuration has it and the scope can have containers of its.
fn podman(
    scope: Scope,
    settings: &Settings,
    manner: &Manner,
    (authfile, proxies): (Option<PathBuf>, Proxies),
    (notes, registries): (Store, Registries),
) -> Option<Any<Registries>> {
    let PodmanSettings { program: path, timeout } = settings.podman.clone()?;
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let options = podman::Options {
        program: podman::Program { path, apart: manner.confined, shown: manner.shown, proxies },
        timeout,
        run: settings.paths.run.clone(),
        scope,
        authfile,
        tls_verify: manner.tls_verify,
        presence: podman::Presence::of(scope, variable)?,
        min_free: settings.min_free,
    };
    let podman = Podman::new(options, Platform::running(&cpuinfo), notes);
    Some(Any::Podman(Box::new(podman), registries))
}

/// Has Podman's log of events hear of a run that had work of Podman's to look at.
pub fn tell_podman(scope: Scope, began: Timestamp) {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Err(cause) = podman::Events::of(scope, variable).auto_update(began) {
        tracing::debug!(%cause, "no entry for \"podman events\", ignoring");
    }
}

fn options(settings: &Settings) -> Options {
    let mut options = Options {
        checks_in_flight: settings.checks_in_flight,
        pull_reserve: settings.pull_reserve,
        max_parallel: settings.max_parallel,
        settle: settings.settle,
        rollback: settings.rollback,
        backoff_max: settings.backoff_max,
        quarantine_expiry: settings.quarantine_expiry,
        rules: settings.rules.clone(),
        retention: Limits {
            keep: settings.keep_images,
            budget: settings.disk_budget,
            at_once: settings.cleanup_per_pass,
        },
        units: BTreeMap::new(),
    };
    for (unit, own) in &settings.units {
        let own = UnitOptions {
            settle: own.settle,
            rollback: own.rollback,
            health: own.health,
            probe: own.probe.clone(),
            probe_timeout: own.probe_timeout,
            start_timeout: own.start_timeout,
            group: own.group.clone(),
            rules: own.rules.clone(),
        };
        options.units.insert(unit.clone(), own);
    }
    options
}

/// When the daemon makes passes by itself; `None` where a timer unit decides.
pub fn interval(settings: &Settings) -> Option<Interval> {
    match settings.schedule {
        Schedule::Interval { every, jitter } => Some(Interval { every, jitter }),
        Schedule::Timer => None,
    }
}
