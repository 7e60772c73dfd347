//! The embedded default: this process does the work, with the same library and the same lock.

use std::io::Write as _;

use super::access::Embedded;
use crate::config::{self, Scope};
use crate::daemon::api::Error;
use crate::daemon::flight::Flight;
use crate::daemon::host::{self, Host, Opener};
use crate::daemon::journal;
use crate::daemon::observe::{Journal, Observers};
use crate::daemon::pass::Pass;
use crate::model::failure::chain;
use crate::update::Event;
use crate::update::port::Observer;

/// Opens this host's edges when they are needed.
#[derive(Debug, Clone, Copy)]
pub struct Here {
    pub scope: Scope,
    /// Whether a person follows on standard error.
    pub progress: bool,
}

impl Embedded for Here {
    type Api = Pass<Host>;

    fn open(&self) -> Result<Pass<Host>, Error> {
        let settings = config::load(self.scope)
            .map_err(|error| Error::Failed(format!("bad configuration: {}", chain(&error))))?;
        journal::install_beside_terminal();
        let mut observers = Observers::default().with(Journal(self.scope));
        if self.progress {
            observers = observers.with(Progress);
        }
        let opener = Opener {
            program: "updaterctl",
            connection: None,
            observers,
            flight: Flight::default(),
        };
        Ok(host::open(self.scope, &settings, opener)?)
    }
}

/// Each event as a line on standard error.
struct Progress;

impl Observer for Progress {
    fn event(&self, event: &Event) {
        // A terminal that is gone is no reason to leave a rollout half done.
        let _ = writeln!(std::io::stderr(), "{}", journal::line(event));
    }
}
