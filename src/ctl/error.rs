//! What a command that failed says: one line, and a hint on what to do next.

use crate::config;
use crate::daemon::api;
use crate::terminal::template::InvalidTemplate;

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Service(#[from] api::Error),
    #[error("bad configuration")]
    Configuration(#[source] config::Error),
    /// An ordinary user, and the host's units.
    #[error("only root may do this for the host's units")]
    Denied,
    /// Root, and a bus that does not know of the service.
    #[error("the bus does not let root call updaterd: it has not read the service's policy")]
    Policy,
    /// The service is there but does not answer as it should.
    #[error("{message}")]
    Bus { message: String, hint: &'static str },
    /// Ctrl-C, while the service works.
    #[error("interrupted; updaterd goes on with the update")]
    Left,
    /// Ctrl-C, while this process works.
    #[error("interrupted")]
    Interrupted,
    /// A time of `--since` that its clock never showed.
    #[error("there is no such time in this time zone")]
    NoSuchTime,
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
    #[error(transparent)]
    Template(#[from] InvalidTemplate),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// What to do next, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Service(api::Error::Busy(_)) => {
                Some("wait until it has ended; \"updaterctl status\" shows what is being updated")
            }
            Self::Bus { hint, .. } => Some(hint),
            Self::Denied => Some("run it with sudo, or with --user for your own units"),
            Self::Policy => Some("run \"systemctl reload dbus.service\", and try again"),
            Self::Left => {
                Some("\"updaterctl status\" shows how it goes, \"updaterctl history\" how it ended")
            }
            Self::Interrupted => {
                Some("what was begun is finished or taken back by the next \"updaterctl update\"")
            }
            Self::Configuration(config::Error::NoUserDirectory { .. }) => {
                Some("for the host's units, run it with sudo")
            }
            Self::Configuration(_) => {
                Some("mend it; \"updaterd --check-config\" says whether it is good")
            }
            Self::NoSuchTime => Some("write it with its offset, as \"2026-03-29T02:30:00+01:00\""),
            Self::Service(_) | Self::Output(_) | Self::Json(_) | Self::Template(_) => None,
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Service(error) => super::exit::of_error(error),
            Self::NoSuchTime => super::exit::USAGE,
            Self::Left | Self::Interrupted => super::exit::INTERRUPTED,
            _ => super::exit::FAILED,
        }
    }
}
