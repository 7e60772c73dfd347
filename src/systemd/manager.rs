//! systemd's manager, of the host or of a user.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;
use zbus::{Connection, OwnedObjectPath};

use super::Error;
use super::inhibit::{Inhibitor, delay_shutdown};
use super::job_log::{self, JobLog};
use super::jobs::{self, Job};
use super::link::Link;
use super::proxy::{JobRemovedArgs, SystemdProxy};
use super::restarts::Restarts;
use super::unit::{self, Properties};
use super::words::LastWords;
use crate::model::{Failure, UnitName};
use crate::update::port::{self, Followers, JobError, JobResult, Standing, UnitState};

/// How long systemd may be away while it executes itself anew (`systemctl daemon-reexec`, at each
/// upgrade of its package).
const AWAY: Duration = Duration::from_secs(30);

/// How soon it is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// A connection to one manager, subscribed to its signals.
#[derive(Debug)]
pub struct Manager {
    link: Rc<Link>,
    timeout: Duration,
    /// Where logind is.
    system: Option<Connection>,
    kept: Memory,
    jobs: Jobs,
    restarts: Restarts,
}

/// What is heard of jobs while units are kept in mind.
type Jobs = Rc<RefCell<Option<JobLog>>>;

/// The units of which nothing is to be forgotten: those that are restarted, and those that stop with
/// them.
type Memory = Rc<RefCell<BTreeMap<String, Kept>>>;

/// As long as it lives, a shutdown waits for us, and systemd is listened to.
#[derive(Debug)]
#[must_use = "the shutdown is delayed only while this lives"]
pub struct Attention {
    _inhibitor: Option<Inhibitor>,
    link: Rc<Link>,
    kept: Memory,
    jobs: Jobs,
}

/// Who stays connected to systemd itself is woken up by whatever happens on the host.
impl Drop for Attention {
    fn drop(&mut self) {
        let kept = self.kept.take();
        drop(self.jobs.take());
        match self.link.bus() {
            Some(systemd) => drop(tokio::spawn(let_go(systemd.clone(), kept))),
            None => {
                drop(kept);
                self.link.leave();
            }
        }
    }
}

/// Units that nobody else refers to may be forgotten again.
async fn let_go(systemd: SystemdProxy<'static>, kept: BTreeMap<String, Kept>) {
    for unit in kept.into_keys() {
        if let Err(error) = systemd.unref_unit(&unit).await {
            tracing::debug!(unit, %error, "systemd keeps the unit loaded, ignoring");
        }
    }
}

/// How a unit is kept in mind.
#[derive(Debug)]
enum Kept {
    /// systemd keeps it loaded for us.
    Referred,
    /// We listen to what is said of it.
    Heard(LastWords),
}

impl Manager {
    /// Speaks to the manager behind `connection`, a bus; a job may take at most `timeout`.
    ///
    /// # Errors
    /// Where nobody answers for systemd on that bus.
    pub async fn new(connection: &Connection, timeout: Duration) -> Result<Self, Error> {
        Ok(Self::over(Link::over_bus(connection).await?, timeout))
    }

    /// Speaks to the manager behind its own socket ([`super::private`]), where there is no bus.
    ///
    /// # Errors
    /// Where no systemd listens there, or not to us.
    pub async fn without_bus(socket: PathBuf, timeout: Duration) -> Result<Self, Error> {
        Ok(Self::over(Link::to_socket(socket).await?, timeout))
    }

    fn over(link: Link, timeout: Duration) -> Self {
        Self {
            link: Rc::new(link),
            timeout,
            system: None,
            kept: Rc::default(),
            jobs: Rc::default(),
            restarts: Restarts::default(),
        }
    }

    /// With the system bus, on which logind is asked to delay a shutdown.
    pub fn with_logind(self, system: Option<Connection>) -> Self {
        Self { system, ..self }
    }

    /// Sees to it that what is known of `unit` stays known for as long as a shutdown is delayed. A
    /// unit that nothing refers to is forgotten as soon as it stops, and with it whether it was
    /// asked to.
    async fn keep(&self, systemd: &SystemdProxy<'_>, unit: &str) {
        if self.kept.borrow().get(unit).is_some_and(Kept::still_is) {
            return;
        }
        let kept = match self.link.is_private() {
            true => listen(systemd, unit).await.map(Kept::Heard),
            false => systemd.ref_unit(unit).await.map(|()| Kept::Referred),
        };
        match kept {
            Ok(kept) => {
                self.kept.borrow_mut().insert(unit.to_owned(), kept);
            }
            // The restart says so, too.
            Err(error) if jobs::name(&error).as_deref() == Some(NO_SUCH_UNIT) => {}
            Err(error) => {
                tracing::debug!(unit, %error, "what is known of the unit may be lost, ignoring");
            }
        }
    }

    /// Reads the unit; while systemd is away, for at most `patience`, again and again.
    pub(super) async fn state_within(
        &self,
        unit: &UnitName,
        patience: Duration,
    ) -> Result<UnitState, Failure> {
        let read = async || {
            let state = self.read_state(unit.as_str()).await?;
            if !self.stopped_by_itself(unit.as_str(), &state) {
                return Ok(state);
            }
            // What had ended before systemd answered was heard when it answers once more.
            let mut state = self.read_state(unit.as_str()).await?;
            if self.stopped_by_itself(unit.as_str(), &state) {
                state.stopped_on_request = false;
            }
            Ok(state)
        };
        self.patiently(read, patience).await
    }

    async fn read_state(&self, unit: &str) -> Result<UnitState, Error> {
        let (properties, systemd) = self.read(unit).await?;
        let mut state = properties.state(systemd.inner().connection(), unit).await?;
        state.restarts = self.restarts.since(unit, state.restarts);
        Ok(state)
    }

    /// Whether what looks like a stop on request was none: nobody's job was heard of.
    fn stopped_by_itself(&self, unit: &str, state: &UnitState) -> bool {
        let jobs = self.jobs.borrow();
        let unasked = || jobs.as_ref().is_some_and(|jobs| jobs.nobody_asked(unit, state.left));
        state.stopped_on_request && state.job.is_none() && unasked()
    }

    /// Listens to the ends of jobs, where that is not done already. Without it a stop is told by
    /// its times alone.
    async fn listen_to_jobs(&self, systemd: &SystemdProxy<'_>) {
        if self.jobs.borrow().as_ref().is_some_and(|jobs| !jobs.is_over()) {
            return;
        }
        match JobLog::listen(systemd).await {
            Ok(jobs) => drop(self.jobs.replace(Some(jobs))),
            Err(error) => tracing::debug!(%error, "the ends of jobs are not heard, ignoring"),
        }
    }

    /// Asks; while systemd is away, for at most `patience`, again and again.
    async fn patiently<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, Error>,
        patience: Duration,
    ) -> Result<T, Failure> {
        let until = Instant::now() + patience;
        loop {
            match ask().await {
                Err(error) if self.link.is_away(&error) && Instant::now() < until => {
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return Ok(answer?),
            }
        }
    }

    async fn read(&self, unit: &str) -> Result<(Properties, SystemdProxy<'static>), Error> {
        let systemd = self.link.systemd().await?;
        if self.kept.borrow().get(unit).is_some_and(|kept| !kept.still_is()) {
            self.keep(&systemd, unit).await;
        }
        let mut properties = properties(&systemd, unit).await?;
        if !properties.was_started() && self.has_heard_of(unit) {
            // What systemd had said before it answered was heard when it answers once more.
            properties = self::properties(&systemd, unit).await?;
            self.recall(unit, &mut properties);
        }
        Ok((properties, systemd))
    }

    fn has_heard_of(&self, unit: &str) -> bool {
        matches!(self.kept.borrow().get(unit), Some(Kept::Heard(_)))
    }

    /// Of a unit that was forgotten, and loaded anew only because we asked.
    fn recall(&self, unit: &str, properties: &mut Properties) {
        if let Some(Kept::Heard(words)) = self.kept.borrow().get(unit)
            && !properties.was_started()
        {
            words.recall(properties);
        }
    }

    async fn queue(&self, unit: &str, how: Job) -> Result<JobResult, JobError> {
        let systemd = self.link.systemd().await.map_err(|error| JobError::Refused(error.into()))?;
        self.keep(&systemd, unit).await;
        self.listen_to_jobs(&systemd).await;
        let began = |job: &OwnedObjectPath| {
            if let Some(jobs) = &*self.jobs.borrow() {
                jobs.is_ours(job);
            }
        };
        // Known before, for the question that goes out right behind the call. A start counts from zero.
        let path = match how {
            Job::Restart | Job::TryRestart => systemd.load_unit(unit).await.ok(),
            Job::Start | Job::Stop => None,
        };
        let count = async {
            if let Some(path) = path
                && let Ok(count) = unit::restarts(systemd.inner().connection(), path).await
            {
                self.restarts.begin(unit, count);
            }
        };
        jobs::queue(&systemd, unit, how, self.timeout, began, count).await
    }
}

impl Kept {
    fn still_is(&self) -> bool {
        match self {
            Self::Referred => true,
            Self::Heard(words) => !words.are_over(),
        }
    }
}

async fn listen(systemd: &SystemdProxy<'_>, unit: &str) -> zbus::Result<LastWords> {
    let path = systemd.load_unit(unit).await?;
    LastWords::listen(systemd.inner().connection(), path).await
}

async fn properties(systemd: &SystemdProxy<'_>, unit: &str) -> Result<Properties, Error> {
    let failed = |source| Error::Call { call: "LoadUnit", unit: unit.to_string(), source };
    let path = systemd.load_unit(unit).await.map_err(failed)?;
    Properties::read(systemd.inner().connection(), path, unit).await
}

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

impl port::Manager for Manager {
    type Delay = Attention;

    async fn delay_shutdown(&self, why: &str) -> Attention {
        let inhibitor = match &self.system {
            Some(system) => delay_shutdown(system, why).await,
            None => None,
        };
        let (link, kept, jobs) =
            (Rc::clone(&self.link), Rc::clone(&self.kept), Rc::clone(&self.jobs));
        Attention { _inhibitor: inhibitor, link, kept, jobs }
    }

    /// When systemd began, on the clock of the day: it keeps that when it executes itself anew, and what
    /// confines the service hides `/proc/sys/kernel/random/boot_id`, which a container shares with its
    /// host besides.
    async fn boot(&self) -> String {
        let asked = async || {
            let began = self.link.systemd().await?.userspace_timestamp().await;
            let call = "UserspaceTimestamp";
            began.map_err(|source| Error::Call { call, unit: "the manager".into(), source })
        };
        let began = self.patiently(asked, AWAY).await;
        began.map(|began| began.to_string()).unwrap_or_default()
    }

    async fn is_shutting_down(&self) -> bool {
        // Where systemd does not answer nothing is known, and what was asked for fails by itself.
        match self.link.systemd().await {
            Ok(systemd) => systemd.system_state().await.is_ok_and(|state| state == "stopping"),
            Err(_) => false,
        }
    }

    async fn state(&self, unit: &UnitName) -> Result<UnitState, Failure> {
        self.state_within(unit, AWAY).await
    }

    async fn try_restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        self.queue(unit.as_str(), Job::TryRestart).await
    }

    async fn restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        self.queue(unit.as_str(), Job::Restart).await
    }

    async fn start(&self, unit: &str) -> Result<JobResult, JobError> {
        self.queue(unit, Job::Start).await
    }

    async fn stop(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        self.queue(unit.as_str(), Job::Stop).await
    }

    async fn standing(&self, unit: &str) -> Result<Standing, Failure> {
        let read = async || {
            let systemd = self.link.systemd().await?;
            self.keep(&systemd, unit).await;
            let (properties, systemd) = self.read(unit).await?;
            let mut standing = properties.standing(systemd.inner().connection(), unit).await?;
            standing.restarts = self.restarts.since(unit, standing.restarts);
            Ok(standing)
        };
        self.patiently(read, AWAY).await
    }

    async fn followers(&self, unit: &str) -> Result<Followers, Failure> {
        let read = async || {
            let systemd = self.link.systemd().await?;
            Ok(properties(&systemd, unit).await?.followers())
        };
        self.patiently(read, AWAY).await
    }

    async fn job_ended(&self, units: &[UnitName]) {
        if let Ok(systemd) = self.link.systemd().await
            && let Ok(mut removed) = systemd.receive_job_removed().await
        {
            while let Some(signal) = removed.next().await {
                let of =
                    |args: &JobRemovedArgs<'_>| units.iter().any(|it| it.as_str() == args.unit());
                if signal.args().is_ok_and(|args| of(&args)) {
                    return;
                }
            }
        }
        pending().await
    }

    fn now(&self) -> Duration {
        job_log::now()
    }

    /// Without its failure nothing would hold a unit that is down in systemd's memory.
    async fn reset_failed(&self, unit: &str) -> Result<(), Failure> {
        let reset = async || {
            let systemd = self.link.systemd().await?;
            self.keep(&systemd, unit).await;
            match systemd.reset_failed_unit(unit).await {
                Ok(()) => {
                    self.restarts.forget(unit);
                    Ok(())
                }
                Err(error) if jobs::name(&error).as_deref() == Some(NO_SUCH_UNIT) => Ok(()),
                Err(source) => {
                    let call = "ResetFailedUnit";
                    Err(Error::Call { call, unit: unit.to_string(), source })
                }
            }
        };
        self.patiently(reset, AWAY).await
    }
}
