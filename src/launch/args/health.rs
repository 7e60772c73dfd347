//! How a container's health is checked.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::launch::health::duration;

// How a container's health is checked. What is not given is the image's, else Podman's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HealthFlags {
    /// What checks the health, in the container: a line for its shell, or a JSON list of words;
    /// "none" leaves the image's out
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// Time between two checks, or "disable" [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = Every::parse)]
    pub(crate) health_interval: Option<Every>,
    /// So many failures in a row make it unhealthy [default: 3]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) health_retries: Option<u32>,
    /// A check that takes longer has failed [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(crate) health_timeout: Option<Duration>,
    /// Time after the start in which failures do not count [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) health_start_period: Option<Duration>,
    /// What is checked first, until it has passed: a container whose start takes long
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_startup_cmd: Option<String>,
    /// Time between two checks of the startup, or "disable" [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = Every::parse)]
    pub(crate) health_startup_interval: Option<Every>,
    /// After so many failed checks of the startup the container ends, for its unit to start it
    /// again; 0 for any number [default: 0]
    #[arg(long, value_name = "COUNT")]
    pub(crate) health_startup_retries: Option<u32>,
    /// So many checks of the startup must pass before the regular ones begin [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub(crate) health_startup_success: Option<u32>,
    /// A check of the startup that takes longer has failed [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(crate) health_startup_timeout: Option<Duration>,
    /// What happens to an unhealthy container [default: none]
    #[arg(long, value_name = "ACTION")]
    pub(crate) health_on_failure: Option<OnFailure>,
    /// No checks, whatever the image says
    #[arg(long, conflicts_with_all = ["health_cmd", "health_startup_cmd"])]
    pub(crate) no_healthcheck: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnFailure {
    None,
    /// SIGKILL
    Kill,
    /// Its stop signal, and a failure for the unit's Restart= or --restart
    Restart,
    /// Its stop signal
    Stop,
}

/// How often a check is made by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Every {
    /// Never.
    Disable,
    Time(Duration),
}

/// A supervisor has more to do than to check.
const SHORTEST: Duration = Duration::from_millis(100);

impl Every {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "disable" {
            return Ok(Self::Disable);
        }
        match duration::parse(text)? {
            Duration::ZERO => Ok(Self::Disable),
            time if time < SHORTEST => Err("the shortest interval is 100ms".to_owned()),
            time => Ok(Self::Time(time)),
        }
    }

    /// `None` is never.
    pub(crate) fn time(self) -> Option<Duration> {
        match self {
            Self::Disable => None,
            Self::Time(time) => Some(time),
        }
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        time if time < Duration::from_secs(1) => Err("the shortest timeout is 1s".to_owned()),
        time => Ok(time),
    }
}
