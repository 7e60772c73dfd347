//! What can go wrong between us and systemd.

use crate::model::{Failure, FailureKind};

/// A call to systemd's manager that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to the {bus} bus: is dbus running, and systemd the init system?")]
    Connect { bus: &'static str, source: zbus::Error },
    #[error("systemd did not answer {call} for {unit}")]
    Call { call: &'static str, unit: String, source: zbus::Error },
    #[error("systemd reports property {property} of {unit} in an unexpected form")]
    Property { property: &'static str, unit: String },
    #[error("the job of {unit} did not end within {seconds} s: see \"systemctl list-jobs\"")]
    Stuck { unit: String, seconds: u64 },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from_error(FailureKind::Local, &error)
    }
}
