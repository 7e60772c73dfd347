//! How a container's health is checked: from flags and image. Pure.

use std::time::Duration;

use serde_json::Value;

use super::command::{Test, of_flag};
use super::image;
use super::state::{Rules, StartupRules};
use crate::launch::args::{Every, HealthFlags, OnFailure};

/// What is checked, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) check: Check,
    pub(crate) startup: Option<Startup>,
    pub(crate) on_failure: OnFailure,
}

/// The regular check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// A program and its arguments.
    pub(crate) words: Vec<String>,
    /// From the end of one to the beginning of the next; `None` only when asked for.
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) start_period: Duration,
    /// The interval in the start period, until one has passed.
    pub(crate) start_interval: Option<Duration>,
}

/// The check that comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Startup {
    pub(crate) words: Vec<String>,
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) rules: StartupRules,
}

/// What holds where nobody says anything (podman-run(1)).
pub(crate) struct Defaults {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
}

pub(crate) const DEFAULT: Defaults =
    Defaults { interval: Duration::from_secs(30), timeout: Duration::from_secs(30), retries: 3 };

/// Why a health check is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidHealth {
    #[error("{0} needs a command to run, or \"none\"")]
    Nothing(&'static str),
    #[error("--health-startup-cmd \"none\": leave it out")]
    NoStartup,
    #[error("{0} needs a health check, and neither --health-cmd nor the image has one")]
    NoCheck(&'static str),
    #[error("{0} needs --health-startup-cmd")]
    NoStartupCheck(&'static str),
    #[error(
        "the image's HEALTHCHECK cannot be understood: {0}; --health-cmd or --no-healthcheck \
         replaces it"
    )]
    Image(String),
}

/// How the container is checked; `None` where it is not. `of_image` is what the image's
/// configuration has for it.
pub(crate) fn plan(
    flags: &HealthFlags,
    of_image: Option<&Value>,
) -> Result<Option<Plan>, InvalidHealth> {
    let Some(mut check) = base(flags, of_image)? else {
        return match needs_check(flags) {
            Some(flag) => Err(InvalidHealth::NoCheck(flag)),
            None => Ok(None),
        };
    };
    if let Some(interval) = flags.health_interval {
        check.interval = interval.time();
        check.start_interval = None;
    }
    check.timeout = flags.health_timeout.unwrap_or(check.timeout);
    check.retries = flags.health_retries.unwrap_or(check.retries);
    check.start_period = flags.health_start_period.unwrap_or(check.start_period);
    Ok(Some(Plan {
        check,
        startup: startup(flags)?,
        on_failure: flags.health_on_failure.unwrap_or(OnFailure::None),
    }))
}

/// The operator's command with Podman's defaults, else the image's check.
fn base(flags: &HealthFlags, of_image: Option<&Value>) -> Result<Option<Check>, InvalidHealth> {
    if flags.no_healthcheck {
        return Ok(None);
    }
    let Some(text) = &flags.health_cmd else {
        return of_image.filter(|value| !value.is_null()).map_or(Ok(None), image::read);
    };
    match of_flag(text).ok_or(InvalidHealth::Nothing("--health-cmd"))? {
        Test::None => Ok(None),
        Test::Words(words) => Ok(Some(Check {
            words,
            interval: Some(DEFAULT.interval),
            timeout: DEFAULT.timeout,
            retries: DEFAULT.retries,
            start_period: Duration::ZERO,
            start_interval: None,
        })),
    }
}

/// A flag that means nothing without a check.
fn needs_check(flags: &HealthFlags) -> Option<&'static str> {
    let acts = flags.health_on_failure.is_some_and(|action| action != OnFailure::None);
    [
        (flags.health_interval.is_some(), "--health-interval"),
        (flags.health_retries.is_some(), "--health-retries"),
        (flags.health_timeout.is_some(), "--health-timeout"),
        (flags.health_start_period.is_some(), "--health-start-period"),
        (flags.health_startup_cmd.is_some(), "--health-startup-cmd"),
        (acts, "--health-on-failure"),
    ]
    .into_iter()
    .chain(of_startup(flags))
    .find_map(|(given, flag)| given.then_some(flag))
}

fn of_startup(flags: &HealthFlags) -> [(bool, &'static str); 4] {
    [
        (flags.health_startup_interval.is_some(), "--health-startup-interval"),
        (flags.health_startup_retries.is_some(), "--health-startup-retries"),
        (flags.health_startup_success.is_some(), "--health-startup-success"),
        (flags.health_startup_timeout.is_some(), "--health-startup-timeout"),
    ]
}

fn startup(flags: &HealthFlags) -> Result<Option<Startup>, InvalidHealth> {
    let Some(text) = &flags.health_startup_cmd else {
        return match of_startup(flags).into_iter().find(|(given, _)| *given) {
            Some((_, flag)) => Err(InvalidHealth::NoStartupCheck(flag)),
            None => Ok(None),
        };
    };
    match of_flag(text).ok_or(InvalidHealth::Nothing("--health-startup-cmd"))? {
        Test::None => Err(InvalidHealth::NoStartup),
        Test::Words(words) => Ok(Some(Startup {
            words,
            interval: flags.health_startup_interval.map_or(Some(DEFAULT.interval), Every::time),
            timeout: flags.health_startup_timeout.unwrap_or(DEFAULT.timeout),
            rules: StartupRules {
                success: flags.health_startup_success.unwrap_or(1).max(1),
                retries: flags.health_startup_retries.unwrap_or(0),
            },
        })),
    }
}

impl Plan {
    pub(crate) fn rules(&self) -> Rules {
        let startup = self.startup.as_ref().map(|startup| startup.rules);
        Rules { retries: self.check.retries, startup }
    }

    /// Within this time from its start, the container has been checked in earnest: after its start
    /// period, and as often as its startup needs.
    pub(crate) fn patience(&self) -> Duration {
        let once = |interval: Option<Duration>, timeout: Duration| {
            interval.unwrap_or_default().saturating_add(timeout)
        };
        let startup = self.startup.as_ref().map_or(Duration::ZERO, |startup| {
            let times = startup.rules.success.max(startup.rules.retries);
            once(startup.interval, startup.timeout).saturating_mul(times)
        });
        let check = once(self.check.interval, self.check.timeout);
        startup.max(self.check.start_period).saturating_add(check)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flags() -> HealthFlags {
        HealthFlags::default()
    }

    fn image() -> Value {
        json!({"Test": ["CMD", "/check"], "Interval": 60_000_000_000u64, "Retries": 5,
               "StartInterval": 2_000_000_000u64})
    }

    #[test]
    fn nothing_is_checked_where_nobody_says_so() {
        assert_eq!(plan(&flags(), None), Ok(None));
        assert_eq!(plan(&flags(), Some(&Value::Null)), Ok(None));
        for off in [
            HealthFlags { no_healthcheck: true, ..flags() },
            HealthFlags { health_cmd: Some("none".into()), ..flags() },
        ] {
            assert_eq!(plan(&off, Some(&image())), Ok(None));
        }
    }

    #[test]
    fn flags_replace_single_parts_of_the_images_check() {
        let own = HealthFlags {
            health_interval: Some(Every::Time(Duration::from_secs(7))),
            health_on_failure: Some(OnFailure::Kill),
            ..flags()
        };
        let plan = plan(&own, Some(&image())).unwrap().unwrap();
        assert_eq!(plan.check.words, ["/check"]);
        assert_eq!((plan.check.interval, plan.check.retries), (Some(Duration::from_secs(7)), 5));
        assert_eq!((plan.on_failure, plan.check.start_interval), (OnFailure::Kill, None));
    }

    #[test]
    fn another_command_is_another_check() {
        let own = HealthFlags { health_cmd: Some("x".into()), ..flags() };
        let plan = plan(&own, Some(&image())).unwrap().unwrap();
        assert_eq!(plan.check.words, ["/bin/sh", "-c", "x"]);
        assert_eq!((plan.check.interval, plan.check.retries), (Some(DEFAULT.interval), 3));
    }

    #[test]
    fn a_flag_without_its_check_is_refused() {
        let retries = HealthFlags { health_retries: Some(1), ..flags() };
        assert_eq!(plan(&retries, None), Err(InvalidHealth::NoCheck("--health-retries")));
        let startup = HealthFlags { health_startup_success: Some(1), ..flags() };
        assert_eq!(plan(&startup, None), Err(InvalidHealth::NoCheck("--health-startup-success")));
        let startup = HealthFlags { health_cmd: Some("x".into()), ..startup };
        assert!(matches!(plan(&startup, None), Err(InvalidHealth::NoStartupCheck(_))));
        let empty = HealthFlags { health_cmd: Some(String::new()), ..flags() };
        assert_eq!(plan(&empty, None), Err(InvalidHealth::Nothing("--health-cmd")));
        assert!(plan(&flags(), Some(&json!({"Test": ["x"]}))).is_err());
        let replaced = HealthFlags { health_cmd: Some("x".into()), ..flags() };
        assert!(plan(&replaced, Some(&json!({"Test": ["x"]}))).is_ok());
    }

    #[test]
    fn patience_has_room_for_a_check_that_counts() {
        let own = HealthFlags {
            health_cmd: Some("x".into()),
            health_interval: Some(Every::Time(Duration::from_secs(5))),
            health_timeout: Some(Duration::from_secs(2)),
            health_start_period: Some(Duration::from_secs(20)),
            ..flags()
        };
        assert_eq!(plan(&own, None).unwrap().unwrap().patience(), Duration::from_secs(27));
        let own = HealthFlags {
            health_startup_cmd: Some("y".into()),
            health_startup_interval: Some(Every::Time(Duration::from_secs(9))),
            health_startup_timeout: Some(Duration::from_secs(1)),
            health_startup_retries: Some(3),
            ..own
        };
        assert_eq!(plan(&own, None).unwrap().unwrap().patience(), Duration::from_secs(37));
    }
}
