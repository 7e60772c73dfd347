//! One file as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Error, value};
use crate::model::{Group, MinFree, Mode, OutcomeKind, Probe, Proxy, Rollback, UnitName, Window};

/// What one file says; `None` where it says nothing. The keys are in updaterd.toml(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Fragment {
    pub(super) schedule: Option<ScheduleWord>,
    #[serde(deserialize_with = "value::pause")]
    pub(super) interval: Option<Duration>,
    #[serde(deserialize_with = "value::time")]
    pub(super) jitter: Option<Duration>,
    #[serde(deserialize_with = "value::time")]
    pub(super) settle: Option<Duration>,
    #[serde(deserialize_with = "value::count")]
    pub(super) checks_in_flight: Option<usize>,
    #[serde(deserialize_with = "value::percent")]
    pub(super) pull_reserve: Option<u8>,
    #[serde(deserialize_with = "value::count")]
    pub(super) max_parallel: Option<usize>,
    #[serde(deserialize_with = "value::pause")]
    pub(super) restart_timeout: Option<Duration>,
    pub(super) rollback: Option<Rollback>,
    #[serde(deserialize_with = "value::pause")]
    pub(super) backoff_max: Option<Duration>,
    #[serde(deserialize_with = "value::or_never")]
    pub(super) quarantine_expiry: Option<Option<Duration>>,
    #[serde(deserialize_with = "value::count")]
    pub(super) keep_images: Option<usize>,
    #[serde(deserialize_with = "value::count")]
    pub(super) cleanup_per_pass: Option<usize>,
    #[serde(deserialize_with = "value::size")]
    pub(super) disk_budget: Option<u64>,
    #[serde(deserialize_with = "value::min_free")]
    pub(super) min_free: Option<MinFree>,
    #[serde(deserialize_with = "value::rate")]
    pub(super) max_download_rate: Option<u64>,
    pub(super) mode: Option<Mode>,
    #[serde(deserialize_with = "value::windows")]
    pub(super) window: Option<Vec<Window>>,
    #[serde(deserialize_with = "value::time")]
    pub(super) cooldown: Option<Duration>,
    pub(super) registry: RegistryFragment,
    pub(super) podman: PodmanFragment,
    pub(super) notify: NotifyFragment,
    pub(super) paths: PathsFragment,
    pub(super) unit: BTreeMap<UnitName, UnitFragment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ScheduleWord {
    Interval,
    Timer,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RegistryFragment {
    #[serde(deserialize_with = "value::proxy")]
    pub(super) proxy: Option<Option<Proxy>>,
    pub(super) no_proxy: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PodmanFragment {
    pub(super) enabled: Option<bool>,
    #[serde(deserialize_with = "value::path")]
    pub(super) program: Option<PathBuf>,
    #[serde(deserialize_with = "value::pause")]
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NotifyFragment {
    pub(super) on: Option<BTreeSet<OutcomeKind>>,
    #[serde(deserialize_with = "value::command")]
    pub(super) command: Option<Vec<String>>,
    #[serde(deserialize_with = "value::webhook")]
    pub(super) webhook: Option<String>,
    #[serde(deserialize_with = "value::path")]
    pub(super) webhook_token_file: Option<PathBuf>,
    #[serde(deserialize_with = "value::pause")]
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PathsFragment {
    #[serde(deserialize_with = "value::path")]
    pub(super) state: Option<PathBuf>,
    #[serde(deserialize_with = "value::path")]
    pub(super) run: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UnitFragment {
    #[serde(deserialize_with = "value::time")]
    pub(super) settle: Option<Duration>,
    pub(super) rollback: Option<Rollback>,
    pub(super) health: Option<bool>,
    pub(super) probe: Option<Probe>,
    #[serde(deserialize_with = "value::pause")]
    pub(super) probe_timeout: Option<Duration>,
    #[serde(deserialize_with = "value::pause")]
    pub(super) start_timeout: Option<Duration>,
    pub(super) group: Option<Group>,
    pub(super) mode: Option<Mode>,
    #[serde(deserialize_with = "value::windows")]
    pub(super) window: Option<Vec<Window>>,
    #[serde(deserialize_with = "value::time")]
    pub(super) cooldown: Option<Duration>,
}

impl Fragment {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::from_toml(path.to_owned(), text, &error))
    }

    /// This fragment where it says something, `other` where it does not.
    pub(super) fn over(self, other: Self) -> Self {
        let mut unit = other.unit;
        for (name, own) in self.unit {
            let less = unit.remove(&name).unwrap_or_default();
            unit.insert(name, own.over(less));
        }
        Self {
            schedule: self.schedule.or(other.schedule),
            interval: self.interval.or(other.interval),
            jitter: self.jitter.or(other.jitter),
            settle: self.settle.or(other.settle),
            checks_in_flight: self.checks_in_flight.or(other.checks_in_flight),
            pull_reserve: self.pull_reserve.or(other.pull_reserve),
            max_parallel: self.max_parallel.or(other.max_parallel),
            restart_timeout: self.restart_timeout.or(other.restart_timeout),
            rollback: self.rollback.or(other.rollback),
            backoff_max: self.backoff_max.or(other.backoff_max),
            quarantine_expiry: self.quarantine_expiry.or(other.quarantine_expiry),
            keep_images: self.keep_images.or(other.keep_images),
            cleanup_per_pass: self.cleanup_per_pass.or(other.cleanup_per_pass),
            disk_budget: self.disk_budget.or(other.disk_budget),
            min_free: self.min_free.or(other.min_free),
            max_download_rate: self.max_download_rate.or(other.max_download_rate),
            mode: self.mode.or(other.mode),
            window: self.window.or(other.window),
            cooldown: self.cooldown.or(other.cooldown),
            registry: RegistryFragment {
                proxy: self.registry.proxy.or(other.registry.proxy),
                no_proxy: self.registry.no_proxy.or(other.registry.no_proxy),
            },
            podman: PodmanFragment {
                enabled: self.podman.enabled.or(other.podman.enabled),
                program: self.podman.program.or(other.podman.program),
                timeout: self.podman.timeout.or(other.podman.timeout),
            },
            notify: NotifyFragment {
                on: self.notify.on.or(other.notify.on),
                command: self.notify.command.or(other.notify.command),
                webhook: self.notify.webhook.or(other.notify.webhook),
                webhook_token_file: self
                    .notify
                    .webhook_token_file
                    .or(other.notify.webhook_token_file),
                timeout: self.notify.timeout.or(other.notify.timeout),
            },
            paths: PathsFragment {
                state: self.paths.state.or(other.paths.state),
                run: self.paths.run.or(other.paths.run),
            },
            unit,
        }
    }
}

impl UnitFragment {
    fn over(self, other: Self) -> Self {
        Self {
            settle: self.settle.or(other.settle),
            rollback: self.rollback.or(other.rollback),
            health: self.health.or(other.health),
            probe: self.probe.or(other.probe),
            probe_timeout: self.probe_timeout.or(other.probe_timeout),
            start_timeout: self.start_timeout.or(other.start_timeout),
            group: self.group.or(other.group),
            mode: self.mode.or(other.mode),
            window: self.window.or(other.window),
            cooldown: self.cooldown.or(other.cooldown),
        }
    }
}
