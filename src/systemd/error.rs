//! What can go wrong between us and systemd.

use std::io;
use std::path::PathBuf;

use crate::model::{Failure, FailureKind};

/// A call to systemd's manager that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to the {bus} bus: is dbus running, and systemd the init system?")]
    Connect { bus: &'static str, source: zbus::Error },
    #[error(
        "there is no bus, and cannot connect to {path} either: is systemd the init system?",
        path = path.display()
    )]
    Private { path: PathBuf, source: zbus::Error },
    #[error("systemd did not answer {call} for {unit}")]
    Call { call: &'static str, unit: String, source: zbus::Error },
    #[error("systemd reports property {property} of {unit} in an unexpected form")]
    Property { property: &'static str, unit: String },
    #[error("the job of {unit} did not end within {seconds} s: see \"systemctl list-jobs\"")]
    Stuck { unit: String, seconds: u64 },
}

impl Error {
    /// Whether there is no bus at all, rather than one that does not work.
    pub fn is_no_bus(&self) -> bool {
        let Self::Connect { source: zbus::Error::Connection(error, _), .. } = self else {
            return false;
        };
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from_error(FailureKind::Local, &error)
    }
}
