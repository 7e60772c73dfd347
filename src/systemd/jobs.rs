//! Queueing a job and waiting for its end.

use std::time::Duration;

use futures_util::StreamExt;
use zbus::OwnedObjectPath;

use super::Error;
use super::proxy::{JobRemovedStream, SystemdProxy};
use crate::model::UnitName;
use crate::update::port::{JobError, JobResult};

/// Which restart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Restart {
    /// Only a unit that runs.
    Try,
    Always,
}

/// Queues the job and waits at most `timeout` for it. The signal is subscribed to first: a job may
/// end before the reply that names it has arrived.
pub(super) async fn restart(
    systemd: &SystemdProxy<'_>,
    unit: &UnitName,
    how: Restart,
    timeout: Duration,
) -> Result<JobResult, JobError> {
    let removed = systemd.receive_job_removed().await.map_err(|error| refused(unit, error))?;
    let job = match how {
        Restart::Try => systemd.try_restart_unit(unit.as_str(), "replace").await,
        Restart::Always => systemd.restart_unit(unit.as_str(), "replace").await,
    };
    let job = job.map_err(|error| refused(unit, error))?;
    match tokio::time::timeout(timeout, end_of(removed, &job)).await {
        Ok(Some(result)) => Ok(result),
        Ok(None) => Err(JobError::Refused(Error::Lost { unit: unit.to_string() }.into())),
        Err(_) => {
            let stuck = Error::Stuck { unit: unit.to_string(), seconds: timeout.as_secs() };
            Err(JobError::Refused(stuck.into()))
        }
    }
}

/// How the job ended; `None` where the connection ended first.
async fn end_of(mut removed: JobRemovedStream, job: &OwnedObjectPath) -> Option<JobResult> {
    while let Some(signal) = removed.next().await {
        // A signal that is not as documented is none of ours.
        let Ok(args) = signal.args() else { continue };
        if args.job() == job {
            return Some(result(args.result()));
        }
    }
    None
}

fn result(text: &str) -> JobResult {
    match text {
        "done" => JobResult::Done,
        "canceled" => JobResult::Canceled,
        "timeout" => JobResult::Timeout,
        "failed" => JobResult::Failed,
        "dependency" => JobResult::Dependency,
        "skipped" => JobResult::Skipped,
        _ => JobResult::Other,
    }
}

/// What a refusal means. While a shutdown is queued, its irreversible stop jobs make every restart
/// destructive.
fn refused(unit: &UnitName, error: zbus::Error) -> JobError {
    let message = error.to_string();
    match name(&error) {
        Some(
            "org.freedesktop.systemd1.ShuttingDown"
            | "org.freedesktop.systemd1.TransactionIsDestructive",
        ) => JobError::ShuttingDown(message),
        Some("org.freedesktop.systemd1.NoSuchUnit") => JobError::NoSuchUnit(message),
        _ => {
            let unit = unit.to_string();
            JobError::Refused(Error::Call { call: "a restart", unit, source: error }.into())
        }
    }
}

/// The D-Bus name of an error, where it is one of a method's.
pub(super) fn name(error: &zbus::Error) -> Option<&str> {
    match error {
        zbus::Error::MethodError(name, _, _) => Some(name.as_str()),
        _ => None,
    }
}
