//! The embedded default: this process does the work, with the same library and the same lock.

use std::io::Write as _;

use super::Error;
use super::access::Embedded;
use crate::config::{self, Scope, Settings};
use crate::daemon::api;
use crate::daemon::flight::Flight;
use crate::daemon::host::{self, Host, Manner, Opener};
use crate::daemon::journal;
use crate::daemon::observe::{Journal, Observers};
use crate::daemon::pass::Pass;
use crate::update::Event;
use crate::update::port::Observer;

/// Opens this host's edges when they are needed.
#[derive(Debug, Clone, Copy)]
pub struct Here {
    pub scope: Scope,
    /// Who follows, where a person does.
    pub progress: Option<Progress>,
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

impl Embedded for Here {
    type Api = Pass<Host>;

    fn open(&self) -> Result<Pass<Host>, Error> {
        let settings = self.settings()?;
        journal::install_beside_terminal();
        let mut observers = Observers::default().with(Journal(self.scope));
        if let Some(progress) = self.progress {
            observers = observers.with(progress);
        }
        let opener = Opener {
            program: "updaterctl",
            connection: None,
            observers,
            flight: Flight::default(),
            manner: Manner { shown: self.progress.is_some(), ..Manner::default() },
        };
        Ok(host::open(self.scope, &settings, opener).map_err(api::Error::from)?)
    }

    fn validate(&self) -> Result<(), Error> {
        self.settings().map(drop)
    }

    fn onlooker(&self) -> Option<&dyn Observer> {
        self.progress.as_ref().map(|progress| progress as &dyn Observer)
    }
}

/// Each event as a line on standard error, in the words of the journal.
#[derive(Debug, Clone, Copy)]
pub struct Progress;

impl Observer for Progress {
    fn event(&self, event: &Event) {
        // A terminal that is gone is no reason to leave a rollout half done.
        let _ = writeln!(std::io::stderr(), "{}", journal::line(event));
    }
}
