//! A systemd of the tests: serves its manager and one unit over a socket pair, without a bus.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use zbus::connection::Builder;
use zbus::object_server::{ResponseDispatchNotifier, SignalEmitter};
use zbus::{Connection, DBusError, Guid, OwnedObjectPath, Variant, fdo, interface};

const MANAGER: &str = "/org/freedesktop/systemd1";
const UNIT: &str = "/org/freedesktop/systemd1/unit/app_2eservice";

/// The job that every restart gets.
pub(super) const JOB: u32 = 1000;

/// An end of a job: its number, the unit, the result.
pub(super) type End = (u32, &'static str, &'static str);

/// What a call that queues a job does.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    /// Jobs that end before the reply.
    pub(super) before: Vec<End>,
    /// Instead of a reply that names [`JOB`].
    pub(super) refusal: Option<Refusal>,
    /// Jobs that end after the reply.
    pub(super) after: Vec<End>,
    /// Whether the connection is closed after all that.
    pub(super) hangs_up: bool,
    /// Whether the reply never comes.
    pub(super) silent: bool,
    /// Errors that reading the unit gives first, last one first.
    pub(super) unreadable: Vec<fdo::Error>,
    /// What `Subscribe` says.
    pub(super) subscription: Option<Refusal>,
}

/// Errors of org.freedesktop.systemd1(5).
#[derive(Debug, Clone, DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
pub(super) enum Refusal {
    #[zbus(error)]
    ZBus(zbus::Error),
    AlreadySubscribed(String),
    NoSuchUnit(String),
    ShuttingDown(String),
    TransactionIsDestructive(String),
    UnitMasked(String),
}

/// What the unit says of itself; tests change it between two calls.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) active: &'static str,
    pub(super) restarts: u32,
    pub(super) invocation: Vec<u8>,
    /// When it left the state "inactive"; 0 where it was not started since it was loaded.
    pub(super) begun: u64,
    pub(super) started: u64,
    pub(super) entered: u64,
    pub(super) left: u64,
    pub(super) ended: u64,
    pub(super) result: &'static str,
    pub(super) job: u32,
    /// What it is after the first of its interfaces was read.
    pub(super) meanwhile: Option<Box<Unit>>,
    /// Which that was.
    pub(super) read: Option<&'static str>,
}

impl Default for Unit {
    fn default() -> Self {
        let invocation = (0..16).collect();
        Self {
            active: "active",
            restarts: 0,
            invocation,
            begun: 4,
            started: 5,
            entered: 6,
            left: 0,
            ended: 0,
            result: "success",
            job: 0,
            meanwhile: None,
            read: None,
        }
    }
}

/// The other end of the connection, and what it was asked.
pub(super) struct Systemd {
    pub(super) unit: Arc<Mutex<Unit>>,
    pub(super) calls: Arc<Mutex<Vec<String>>>,
    pub(super) connection: Connection,
}

/// A connection to a systemd that acts by `script`.
pub(super) async fn systemd(script: Script) -> (Connection, Systemd) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let client = Builder::unix_stream(ours).p2p();
    let (server, client) = tokio::join!(serve(theirs, script), client.build());
    (client.unwrap(), server)
}

/// A systemd that acts by `script` for who is at the other end of `stream`.
pub(super) async fn serve(stream: UnixStream, script: Script) -> Systemd {
    let unit = Arc::new(Mutex::new(Unit::default()));
    let calls = Arc::new(Mutex::new(Vec::new()));
    let manager = Manager { script, calls: Arc::clone(&calls) };
    let server = Builder::unix_stream(stream)
        .server(Guid::generate())
        .p2p()
        .serve_at(MANAGER, manager)
        .serve_at(UNIT, General(Arc::clone(&unit)))
        .serve_at(UNIT, Service(Arc::clone(&unit)))
        .serve_at("/org/freedesktop/systemd1/job/7", Job);
    Systemd { unit, calls, connection: server.build().await.unwrap() }
}

impl Systemd {
    /// Tells of the unit as it is, as systemd does at each change.
    pub(super) async fn tell(&self) {
        let unit = self.unit.lock().unwrap().clone();
        let Unit { active, restarts, invocation, started, entered, left, ended, result, .. } = unit;
        let service: HashMap<&str, Variant<'_>> = HashMap::from([
            ("Result", result.into()),
            ("NRestarts", restarts.into()),
            ("ExecMainStartTimestampMonotonic", started.into()),
            ("ExecMainExitTimestampMonotonic", ended.into()),
        ]);
        let general: HashMap<&str, Variant<'_>> = HashMap::from([
            ("ActiveState", active.into()),
            ("InvocationID", invocation.into()),
            ("InactiveExitTimestampMonotonic", unit.begun.into()),
            ("ActiveEnterTimestampMonotonic", entered.into()),
            ("ActiveExitTimestampMonotonic", left.into()),
        ]);
        for (interface, changed) in [("Service", service), ("Unit", general)] {
            let interface = format!("org.freedesktop.systemd1.{interface}");
            let body = (interface, changed, Vec::<String>::new());
            let properties = "org.freedesktop.DBus.Properties";
            let sent = self.connection.emit_signal(
                None::<&str>,
                UNIT,
                properties,
                "PropertiesChanged",
                &body,
            );
            sent.await.unwrap();
        }
    }
}

struct Manager {
    script: Script,
    calls: Arc<Mutex<Vec<String>>>,
}

fn path(job: u32) -> OwnedObjectPath {
    format!("/org/freedesktop/systemd1/job/{job}").try_into().unwrap()
}

impl Manager {
    fn heard(&self, call: &str) {
        self.calls.lock().unwrap().push(call.to_owned());
    }

    async fn queue(
        &self,
        emitter: SignalEmitter<'_>,
        connection: &Connection,
    ) -> Result<ResponseDispatchNotifier<OwnedObjectPath>, Refusal> {
        end(&emitter, &self.script.before).await;
        if self.script.silent {
            std::future::pending::<()>().await;
        }
        if let Some(refusal) = &self.script.refusal {
            return Err(refusal.clone());
        }
        let (reply, replied) = ResponseDispatchNotifier::new(path(JOB));
        let (emitter, connection) = (emitter.to_owned(), connection.clone());
        let Script { after, hangs_up, .. } = self.script.clone();
        tokio::spawn(async move {
            replied.await;
            end(&emitter, &after).await;
            if hangs_up {
                connection.close().await.unwrap();
            }
        });
        Ok(reply)
    }
}

async fn end(emitter: &SignalEmitter<'_>, jobs: &[End]) {
    for (job, unit, result) in jobs {
        Manager::job_removed(emitter, *job, path(*job), unit, result).await.unwrap();
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) -> Result<(), Refusal> {
        self.heard("Subscribe");
        self.script.subscription.clone().map_or(Ok(()), Err)
    }

    fn ref_unit(&self, name: &str) {
        self.heard(&format!("RefUnit {name}"));
    }

    fn unref_unit(&self, name: &str) {
        self.heard(&format!("UnrefUnit {name}"));
    }

    fn load_unit(&mut self, _name: &str) -> fdo::Result<OwnedObjectPath> {
        self.script.unreadable.pop().map_or_else(|| Ok(UNIT.try_into().unwrap()), Err)
    }

    async fn try_restart_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<ResponseDispatchNotifier<OwnedObjectPath>, Refusal> {
        self.heard(&format!("TryRestartUnit {name} {mode}"));
        self.queue(emitter, connection).await
    }

    async fn restart_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<ResponseDispatchNotifier<OwnedObjectPath>, Refusal> {
        self.heard(&format!("RestartUnit {name} {mode}"));
        self.queue(emitter, connection).await
    }

    fn reset_failed_unit(&self, name: &str) -> Result<(), Refusal> {
        self.heard(&format!("ResetFailedUnit {name}"));
        self.script.refusal.clone().map_or(Ok(()), Err)
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// The job that an operator's `systemctl stop` queued.
struct Job;

#[interface(name = "org.freedesktop.systemd1.Job")]
impl Job {
    #[zbus(property)]
    fn job_type(&self) -> &str {
        "stop"
    }
}

/// The unit as who asks for this interface sees it.
fn seen(unit: &Mutex<Unit>, interface: &'static str) -> Unit {
    let mut unit = unit.lock().unwrap();
    let first = *unit.read.get_or_insert(interface);
    match &unit.meanwhile {
        Some(changed) if first != interface => (**changed).clone(),
        _ => unit.clone(),
    }
}

struct General(Arc<Mutex<Unit>>);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl General {
    #[zbus(property)]
    fn active_state(&self) -> String {
        seen(&self.0, "Unit").active.to_owned()
    }

    #[zbus(property)]
    fn sub_state(&self) -> &str {
        "running"
    }

    #[zbus(property, name = "InvocationID")]
    fn invocation(&self) -> Vec<u8> {
        seen(&self.0, "Unit").invocation.clone()
    }

    #[zbus(property)]
    fn active_enter_timestamp_monotonic(&self) -> u64 {
        seen(&self.0, "Unit").entered
    }

    #[zbus(property)]
    fn active_exit_timestamp_monotonic(&self) -> u64 {
        seen(&self.0, "Unit").left
    }

    #[zbus(property)]
    fn inactive_exit_timestamp_monotonic(&self) -> u64 {
        seen(&self.0, "Unit").begun
    }

    #[zbus(property)]
    fn job(&self) -> (u32, OwnedObjectPath) {
        let job = seen(&self.0, "Unit").job;
        (job, path(job))
    }

    #[zbus(property)]
    fn load_state(&self) -> String {
        "loaded".to_owned()
    }

    #[zbus(property)]
    fn triggered_by(&self) -> Vec<String> {
        vec!["app.socket".to_owned()]
    }
}

struct Service(Arc<Mutex<Unit>>);

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn result(&self) -> &'static str {
        seen(&self.0, "Service").result
    }

    #[zbus(property, name = "Type")]
    fn kind(&self) -> &str {
        "notify"
    }

    #[zbus(property)]
    fn exec_main_start_timestamp_monotonic(&self) -> u64 {
        seen(&self.0, "Service").started
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        0
    }

    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> u32 {
        seen(&self.0, "Service").restarts
    }

    #[zbus(property)]
    fn exec_main_exit_timestamp_monotonic(&self) -> u64 {
        seen(&self.0, "Service").ended
    }
}
