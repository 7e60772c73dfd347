//! systemd's manager, of the host or of a user.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use zbus::Connection;

use super::Error;
use super::inhibit::{Inhibitor, delay_shutdown};
use super::jobs::{self, Restart};
use super::link::Link;
use super::proxy::SystemdProxy;
use super::unit::Properties;
use super::words::LastWords;
use crate::model::{Failure, UnitName};
use crate::update::port::{self, JobError, JobResult, UnitState};

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
    /// The unit that was restarted last, of which nothing is to be forgotten.
    kept: Rc<RefCell<Option<Kept>>>,
}

/// As long as it lives, a shutdown waits for us, and systemd is listened to.
#[derive(Debug)]
#[must_use = "the shutdown is delayed only while this lives"]
pub struct Attention {
    _inhibitor: Option<Inhibitor>,
    link: Rc<Link>,
    kept: Rc<RefCell<Option<Kept>>>,
}

/// Who stays connected to systemd itself is woken up by whatever happens on the host.
impl Drop for Attention {
    fn drop(&mut self) {
        if self.link.is_private() {
            self.kept.replace(None);
            self.link.leave();
        }
    }
}

/// How a unit is kept in mind.
#[derive(Debug)]
enum Kept {
    /// systemd keeps it loaded for us.
    Referred(UnitName),
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
        Self { link: Rc::new(link), timeout, system: None, kept: Rc::default() }
    }

    /// With the system bus, on which logind is asked to delay a shutdown.
    pub fn with_logind(self, system: Option<Connection>) -> Self {
        Self { system, ..self }
    }

    /// Sees to it that what is known of `unit` stays known until the next unit is restarted, or we
    /// leave. A unit that nothing refers to is forgotten as soon as it stops, and with it whether
    /// it was asked to.
    async fn keep(&self, systemd: &SystemdProxy<'_>, unit: &UnitName) {
        if self.kept.borrow().as_ref().is_some_and(|kept| kept.is(unit)) {
            return;
        }
        let kept = match self.link.is_private() {
            true => listen(systemd, unit).await.map(Kept::Heard),
            false => systemd.ref_unit(unit.as_str()).await.map(|()| Kept::Referred(unit.clone())),
        };
        let kept = match kept {
            Ok(kept) => kept,
            // The restart says so, too.
            Err(error) if jobs::name(&error).as_deref() == Some(NO_SUCH_UNIT) => return,
            Err(error) => {
                tracing::debug!(%unit, %error, "what is known of the unit may be lost, ignoring");
                return;
            }
        };
        if let Some(Kept::Referred(before)) = self.kept.replace(Some(kept))
            && let Err(error) = systemd.unref_unit(before.as_str()).await
        {
            tracing::debug!(unit = %before, %error, "systemd keeps the unit loaded, ignoring");
        }
    }

    /// Reads the unit; while systemd is away, for at most `patience`, again and again.
    pub(super) async fn state_within(
        &self,
        unit: &UnitName,
        patience: Duration,
    ) -> Result<UnitState, Failure> {
        let until = Instant::now() + patience;
        loop {
            match self.read(unit).await {
                Err(error) if self.link.is_away(&error) && Instant::now() < until => {
                    tokio::time::sleep(AGAIN).await;
                }
                state => return Ok(state?),
            }
        }
    }

    async fn read(&self, unit: &UnitName) -> Result<UnitState, Error> {
        let systemd = self.link.systemd().await?;
        let lost = |kept: &Kept| matches!(kept, Kept::Heard(words) if words.are_over());
        if self.kept.borrow().as_ref().is_some_and(lost) {
            self.keep(&systemd, unit).await;
        }
        let mut properties = properties(&systemd, unit).await?;
        if !properties.was_started() && self.has_heard_of(unit) {
            // What systemd had said before it answered was heard when it answers once more.
            properties = self::properties(&systemd, unit).await?;
            self.recall(unit, &mut properties);
        }
        properties.state(systemd.inner().connection(), unit).await
    }

    fn has_heard_of(&self, unit: &UnitName) -> bool {
        matches!(&*self.kept.borrow(), Some(Kept::Heard(words)) if words.unit == *unit)
    }

    /// Of a unit that was forgotten, and loaded anew only because we asked.
    fn recall(&self, unit: &UnitName, properties: &mut Properties) {
        if let Some(Kept::Heard(words)) = &*self.kept.borrow()
            && words.unit == *unit
            && !properties.was_started()
        {
            words.recall(properties);
        }
    }

    async fn queue(&self, unit: &UnitName, how: Restart) -> Result<JobResult, JobError> {
        let systemd = self.link.systemd().await.map_err(|error| JobError::Refused(error.into()))?;
        self.keep(&systemd, unit).await;
        jobs::restart(&systemd, unit, how, self.timeout).await
    }
}

impl Kept {
    fn is(&self, unit: &UnitName) -> bool {
        match self {
            Self::Referred(kept) => kept == unit,
            Self::Heard(words) => words.unit == *unit && !words.are_over(),
        }
    }
}

async fn listen(systemd: &SystemdProxy<'_>, unit: &UnitName) -> zbus::Result<LastWords> {
    let path = systemd.load_unit(unit.as_str()).await?;
    LastWords::listen(systemd.inner().connection(), unit, path).await
}

async fn properties(systemd: &SystemdProxy<'_>, unit: &UnitName) -> Result<Properties, Error> {
    let failed = |source| Error::Call { call: "LoadUnit", unit: unit.to_string(), source };
    let path = systemd.load_unit(unit.as_str()).await.map_err(failed)?;
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
        let (link, kept) = (Rc::clone(&self.link), Rc::clone(&self.kept));
        Attention { _inhibitor: inhibitor, link, kept }
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
        self.queue(unit, Restart::Try).await
    }

    async fn restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        self.queue(unit, Restart::Always).await
    }

    async fn reset_failed(&self, unit: &UnitName) -> Result<(), Failure> {
        match self.link.systemd().await?.reset_failed_unit(unit.as_str()).await {
            Ok(()) => Ok(()),
            Err(error) if jobs::name(&error).as_deref() == Some(NO_SUCH_UNIT) => Ok(()),
            Err(source) => {
                let call = "ResetFailedUnit";
                Err(Error::Call { call, unit: unit.to_string(), source }.into())
            }
        }
    }
}
