//! Why a step of a rollout failed, and whether the image is to blame.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Failure, UnitName};

/// How a systemd job ended (org.freedesktop.systemd1(5), `JobRemoved`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobResult {
    Done,
    Canceled,
    Timeout,
    Failed,
    Dependency,
    Skipped,
    /// A result this program does not know.
    Other,
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Dependency => "dependency",
            Self::Skipped => "skipped",
            Self::Other => "an unknown result",
        })
    }
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "cause")]
pub enum Cause {
    /// The restart job ended otherwise than `done`.
    Job { result: JobResult },
    /// The unit was still starting when the time that its operator gives it was over.
    SlowStart { seconds: u64 },
    /// The unit is not active, and nobody asked it to stop.
    NotActive { active: String, sub: String, result: String },
    /// The next run of a unit that ends by itself ended badly.
    RunFailed { result: String, status: i32 },
    /// systemd restarted the unit by itself while it was watched.
    RestartedItself { restarts: u32 },
    /// The unit was started anew by somebody else while it was watched.
    StartedAnew,
    /// The unit runs another image than it was given.
    WrongImage { expected: Digest, found: Option<Digest> },
    /// So many health checks of its container failed in a row.
    Unhealthy { streak: u32 },
    /// A container of the unit ended while the unit went on.
    ContainerEnded { container: String },
    /// What the operator has it asked was not answered well within its time.
    Probe { probe: String, why: String },
    /// No health check of its container passed in all the time that it may take.
    NotHealthy { seconds: u64 },
    /// systemd did not even start the service: a start limit, or no resources for it.
    NotStarted { result: String },
    /// The unit failed or ended before anything was done to it.
    FailedBefore { active: String, result: String },
    /// A unit that ran before the restart and stops with the updated one did not come back.
    Dependent { unit: String, why: String },
    /// A unit that the rollout's own units need was to be updated first, and was not.
    Needed { unit: UnitName },
    /// The launcher itself failed (exit status 125): the image was not even started.
    Launcher,
    /// The host is shutting down.
    ShuttingDown { message: String },
    /// The bus, or systemd on it, went away: what became of the job is not known.
    BusLost { message: String },
    /// The service is stopping, on a host that goes on.
    ServiceStopping,
    /// Storage, registry: whatever is not the image.
    Host { failure: Failure },
}

impl Cause {
    /// Whether the new image may have caused this. What an operator, a shutdown, a dependency or
    /// this host did proves nothing against the image.
    pub fn blames_image(&self) -> bool {
        match self {
            Self::Job { result } => {
                matches!(result, JobResult::Failed | JobResult::Timeout)
            }
            Self::SlowStart { .. }
            | Self::NotActive { .. }
            | Self::RunFailed { .. }
            | Self::RestartedItself { .. }
            | Self::ContainerEnded { .. }
            | Self::Dependent { .. }
            | Self::Probe { .. }
            | Self::Unhealthy { .. }
            | Self::NotHealthy { .. } => true,
            Self::StartedAnew
            | Self::WrongImage { .. }
            | Self::NotStarted { .. }
            | Self::FailedBefore { .. }
            | Self::Needed { .. }
            | Self::Launcher
            | Self::ShuttingDown { .. }
            | Self::BusLost { .. }
            | Self::ServiceStopping
            | Self::Host { .. } => false,
        }
    }

    /// Whether the rollout must stand still, to be taken up again when the host or the service is
    /// back.
    pub fn suspends(&self) -> bool {
        matches!(self, Self::ShuttingDown { .. } | Self::BusLost { .. } | Self::ServiceStopping)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job { result } => write!(f, "the restart job ended with \"{result}\""),
            Self::SlowStart { seconds } => {
                write!(f, "the unit was still starting after {seconds} s (start_timeout)")
            }
            Self::NotActive { active, sub, result } => {
                write!(f, "the unit is {active} ({sub}), result {result}")
            }
            Self::RunFailed { result, status } => {
                write!(f, "the unit's next run failed: result {result}, status {status}")
            }
            Self::RestartedItself { restarts: 1 } => {
                f.write_str("the service died and systemd restarted it")
            }
            Self::RestartedItself { restarts } => {
                write!(f, "the service died and systemd restarted it ({restarts} times)")
            }
            Self::StartedAnew => f.write_str("somebody else started the unit meanwhile"),
            Self::WrongImage { expected, found: Some(found) } => {
                write!(f, "the unit runs image {} instead of {}", found.short(), expected.short())
            }
            Self::WrongImage { expected, found: None } => {
                write!(f, "no container of the unit runs image {}", expected.short())
            }
            Self::ContainerEnded { container } => {
                write!(f, "the unit's container {container} ended while it was watched")
            }
            Self::Unhealthy { streak } => {
                write!(f, "the container is unhealthy: {streak} health checks failed in a row")
            }
            Self::NotHealthy { seconds } => {
                write!(
                    f,
                    "no health check of the container has passed {seconds} s after the settle time"
                )
            }
            Self::NotStarted { result } => write!(f, "systemd did not start the unit: {result}"),
            Self::FailedBefore { active, result } => {
                write!(f, "the unit was {active} (result {result}) before the update began")
            }
            Self::Probe { probe, why } => write!(f, "the probe {probe} did not pass: {why}"),
            Self::Dependent { unit, why } => {
                write!(f, "{unit}, which ran before and stops with it, did not come back: {why}")
            }
            Self::Needed { unit } => {
                write!(f, "{unit}, which it needs and which comes first, was not updated")
            }
            Self::Launcher => f.write_str("the launcher failed before the image was started (125)"),
            Self::ShuttingDown { message } => write!(f, "the host is shutting down: {message}"),
            Self::BusLost { message } => write!(f, "the connection to systemd was lost: {message}"),
            Self::ServiceStopping => f.write_str("updaterd is stopping"),
            Self::Host { failure } => failure.fmt(f),
        }
    }
}
