//! Queueing a job and waiting for its end.

use std::pin::pin;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use zbus::{DBusError, OwnedObjectPath};

use super::Error;
use super::proxy::{JobRemoved, SystemdProxy};
use crate::update::port::{JobError, JobResult};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Job {
    /// A restart of a unit that runs.
    TryRestart,
    Restart,
    Start,
    Stop,
}

impl Job {
    fn call(self) -> &'static str {
        match self {
            Self::TryRestart | Self::Restart => "a restart",
            Self::Start => "a start",
            Self::Stop => "a stop",
        }
    }
}

/// Queues the job, tells `began` which it is, and waits for its end; all together takes at most
/// `timeout`. `also` is asked right behind the call: systemd answers it before it begins with the job.
pub(super) async fn queue(
    systemd: &SystemdProxy<'_>,
    unit: &str,
    how: Job,
    timeout: Duration,
    began: impl Fn(&OwnedObjectPath),
    also: impl Future<Output = ()>,
) -> Result<JobResult, JobError> {
    match tokio::time::timeout(timeout, queue_and_follow(systemd, unit, how, began, also)).await {
        Ok(result) => result,
        Err(_) => {
            let stuck = Error::Stuck { unit: unit.to_string(), seconds: timeout.as_secs() };
            Err(JobError::Stuck(stuck.into()))
        }
    }
}

/// The signal is subscribed to first: a job may end before the reply that names it has arrived.
async fn queue_and_follow(
    systemd: &SystemdProxy<'_>,
    unit: &str,
    how: Job,
    began: impl Fn(&OwnedObjectPath),
    also: impl Future<Output = ()>,
) -> Result<JobResult, JobError> {
    let mut also = pin!(also.fuse());
    let mut removed =
        systemd.receive_job_removed().await.map_err(|error| refused(unit, how, error))?;
    let mut call = pin!(async {
        match how {
            Job::TryRestart => systemd.try_restart_unit(unit, "replace").await,
            Job::Restart => systemd.restart_unit(unit, "replace").await,
            Job::Start => systemd.start_unit(unit, "replace").await,
            Job::Stop => systemd.stop_unit(unit, "replace").await,
        }
    });
    // Signals are taken while the reply is awaited: a connection whose listener leaves a full
    // queue of them (64) unread does not read the reply behind them.
    let mut ended = Vec::new();
    let job = loop {
        tokio::select! {
            // The call goes out first.
            biased;
            reply = &mut call => break reply.map_err(|error| refused(unit, how, error))?,
            () = &mut also => {}
            Some(signal) = removed.next() => ended.extend(end(&signal)),
        }
    };
    began(&job);
    if let Some((_, result)) = ended.into_iter().find(|(path, _)| *path == job) {
        return Ok(result);
    }
    loop {
        tokio::select! {
            biased;
            () = &mut also => {}
            signal = removed.next() => {
                let Some(signal) = signal else { break };
                if let Some((_, result)) = end(&signal).filter(|(path, _)| *path == job) {
                    return Ok(result);
                }
            }
        }
    }
    Err(JobError::Lost("the bus went away while a job was waited for".to_owned()))
}

/// Which job ended, and how. A signal that is not as documented is none of ours.
fn end(signal: &JobRemoved) -> Option<(OwnedObjectPath, JobResult)> {
    let args = signal.args().ok()?;
    Some((args.job().clone(), result(args.result())))
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
fn refused(unit: &str, how: Job, error: zbus::Error) -> JobError {
    let message = description(&error);
    match name(&error).as_deref() {
        Some(
            "org.freedesktop.systemd1.ShuttingDown"
            | "org.freedesktop.systemd1.TransactionIsDestructive",
        ) => JobError::ShuttingDown(message),
        Some("org.freedesktop.systemd1.NoSuchUnit") => JobError::NoSuchUnit(message),
        // Not systemd's answer: the call may have reached it.
        None => JobError::Lost(message),
        Some(_) => {
            let unit = unit.to_string();
            JobError::Refused(Error::Call { call: how.call(), unit, source: error }.into())
        }
    }
}

/// What an error says, without its D-Bus name.
fn description(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        _ => error.to_string(),
    }
}

/// The D-Bus name of an error, where it is one of a method's.
pub(super) fn name(error: &zbus::Error) -> Option<String> {
    match error {
        zbus::Error::MethodError(name, _, _) => Some(name.to_string()),
        zbus::Error::FDO(error) => Some(error.name().to_string()),
        _ => None,
    }
}
