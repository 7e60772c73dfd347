//! The embedded default: this process does the work, with the same library and the same lock.

use std::io::Write as _;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use super::Error;
use super::access::{AutoUpdated, Done, Embedded};
use super::args::AutoUpdate;
use super::progress::Progress;
use crate::config::{self, Scope, Settings};
use crate::daemon::api::{self, Checked, UnitStatus};
use crate::daemon::facts;
use crate::daemon::flight::Flight;
use crate::daemon::host::{self, Host, Manner, Opener};
use crate::daemon::journal;
use crate::daemon::observe::{Journal, Observers};
use crate::daemon::pass::Pass;
use crate::model::{Container, EngineKind, Policy};
use crate::plan::doctor::Facts;
use crate::update::port::Observer;
use crate::update::{Event, EventKind, Surveyed};

/// Opens this host's edges when they are needed.
#[derive(Debug, Clone)]
pub struct Here {
    pub scope: Scope,
    /// Who follows, where a person does.
    pub progress: Option<Rc<Progress>>,
}

impl Here {
    /// What the scope is configured with, for who may work on it: the host's state is root's.
    fn settings(&self) -> Result<Settings, Error> {
        if self.scope == Scope::System && Scope::current() != Scope::System {
            return Err(Error::Denied);
        }
        config::load(self.scope).map_err(Error::Configuration)
    }
}

impl Here {
    fn open_with(&self, observers: Observers, manner: Manner) -> Result<Pass<Host>, Error> {
        let settings = self.settings()?;
        journal::install_beside_terminal();
        let opener = Opener {
            program: "updaterctl",
            connection: None,
            observers: observers.with(Journal(self.scope)),
            flight: Flight::default(),
            manner,
            desk: None,
        };
        Ok(host::open(self.scope, &settings, opener).map_err(api::Error::from)?)
    }
}

impl Embedded for Here {
    type Api = Pass<Host>;

    fn open(&self) -> Result<Pass<Host>, Error> {
        let mut observers = Observers::default();
        if let Some(progress) = &self.progress {
            observers = observers.with(Rc::clone(progress));
        }
        let manner = Manner { shown: self.progress.is_some(), ..Manner::default() };
        self.open_with(observers, manner)
    }

    async fn auto_update(&self, flags: &AutoUpdate) -> Result<AutoUpdated, Error> {
        let manner = Manner {
            confined: false,
            shown: true,
            authfile: flags.authfile.clone(),
            tls_verify: flags.tls_verify,
            rollback: Some(flags.rollback),
        };
        let pass = self.open_with(Observers::default().with(Pulls), manner)?;
        let began = Timestamp::now();
        let done = if flags.dry_run {
            let Surveyed { plan, containers, .. } = pass.survey().await?;
            AutoUpdated { containers, done: Done::Planned(plan) }
        } else {
            in_turn(&pass).await?
        };
        if done.containers.iter().any(is_podmans_work) {
            host::tell_podman(self.scope, began);
        }
        Ok(done)
    }

    async fn facts(
        &self,
        checked: Result<Checked, String>,
        containers: &[UnitStatus],
    ) -> Result<Facts, Error> {
        Ok(facts::gather(self.scope, &self.settings()?, checked, containers).await)
    }

    fn validate(&self) -> Result<(), Error> {
        self.settings().map(drop)
    }

    fn onlooker(&self) -> Option<&dyn Observer> {
        self.progress.as_deref().map(|progress| progress as &dyn Observer)
    }
}

/// Whether `podman auto-update` would have had something to look at.
fn is_podmans_work(container: &Container) -> bool {
    container.engine == EngineKind::Podman
        && container.unit.is_some()
        && matches!(container.policy, Ok(Policy::Registry | Policy::Local))
}

/// Updates everything, as soon as no other pass is under way.
async fn in_turn(pass: &Pass<Host>) -> Result<AutoUpdated, Error> {
    let mut told = false;
    loop {
        match pass.update_all().await {
            Err(api::Error::Busy(who)) => {
                if !std::mem::replace(&mut told, true) {
                    // Who does not read it waits all the same.
                    let _ = writeln!(std::io::stderr(), "{who}: waiting until it has ended");
                }
                tokio::time::sleep(BUSY).await;
            }
            done => {
                let (containers, report) = done?;
                return Ok(AutoUpdated { containers, done: Done::Updated(report) });
            }
        }
    }
}

/// How soon it is tried again to begin, while another pass is under way.
const BUSY: Duration = Duration::from_millis(500);

/// Each pull as Podman tells of it.
#[derive(Debug, Clone, Copy)]
struct Pulls;

impl Observer for Pulls {
    fn event(&self, event: &Event) {
        if let (EventKind::Staging, Some(reference)) = (event.kind, &event.reference) {
            let _ = writeln!(std::io::stderr(), "Trying to pull {reference}...");
        }
    }
}
