//! Settings: whole and valid.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Paths;
use super::fragment::{Fragment, NotifyFragment, ScheduleWord};
use crate::model::{Group, MinFree, OutcomeKind, Probe, Proxy, Rollback, Rules, UnitName};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What every program of the project works with. Defaults and meanings: updaterd.toml(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub paths: Paths,
    pub schedule: Schedule,
    /// How long a unit is watched after its restart.
    pub settle: Duration,
    /// Registry questions under way at once.
    pub checks_in_flight: usize,
    /// How much of a registry's limit on pulls is kept back, in percent.
    pub pull_reserve: u8,
    /// Units that are restarted at once.
    pub max_parallel: usize,
    /// How long a unit's restart may take before it counts as stuck.
    pub restart_timeout: Duration,
    /// What becomes of a unit whose update failed.
    pub rollback: Rollback,
    /// The longest wait before a registry that fails is asked again.
    pub backoff_max: Duration,
    /// How long an image that failed is not tried again; `None` is until somebody says so.
    pub quarantine_expiry: Option<Duration>,
    /// So many images that a unit ran stay in storage, beside the one that runs.
    pub keep_images: usize,
    /// So many images a pass removes at most.
    pub cleanup_per_pass: usize,
    /// So many bytes the images may take that updaterd pulled, before those go that need not stay.
    pub disk_budget: u64,
    /// What a pull leaves free of the disk.
    pub min_free: MinFree,
    /// Bytes a second with which images come into our store, all together, at the most.
    pub max_download_rate: Option<u64>,
    /// When units may be updated.
    pub rules: Rules,
    pub registry: RegistrySettings,
    /// How Podman's containers are looked after; `None` where they are left alone.
    pub podman: Option<PodmanSettings>,
    pub notify: NotifySettings,
    pub units: BTreeMap<UnitName, UnitSettings>,
}

/// Who decides when a pass is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// The service itself: `every` so often, plus up to `jitter`.
    Interval { every: Duration, jitter: Duration },
    /// `updaterd-check.timer`; the service goes when it is idle.
    Timer,
}

/// How registries are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Between this host and all of them; `None` leaves it to the environment.
    pub proxy: Option<Proxy>,
    /// Who is asked without a proxy, beside those that the environment names.
    pub no_proxy: Vec<String>,
}

/// How Podman is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodmanSettings {
    pub program: PathBuf,
    /// How long a call that pulls nothing may take.
    pub timeout: Duration,
}

/// Who is told how updates ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySettings {
    /// The ends that are told.
    pub on: BTreeSet<OutcomeKind>,
    /// A program and its arguments; none where it is empty.
    pub command: Vec<String>,
    pub webhook: Option<Webhook>,
    /// How long each may take.
    pub timeout: Duration,
}

/// An address that is told by HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    pub url: String,
    /// What is in it is sent as a bearer token.
    pub token_file: Option<PathBuf>,
}

/// The address may hold a secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("token_file", &self.token_file).finish_non_exhaustive()
    }
}

/// What one unit has of its own; `None` is the host's value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitSettings {
    pub settle: Option<Duration>,
    pub rollback: Option<Rollback>,
    /// Whether the health of its containers counts.
    pub health: Option<bool>,
    pub probe: Option<Probe>,
    pub probe_timeout: Option<Duration>,
    /// How long its start on another image may take.
    pub start_timeout: Option<Duration>,
    /// The group that it is updated with, whatever a label says.
    pub group: Option<Group>,
    pub rules: Rules,
}

impl Settings {
    /// Fills in what nobody wrote; `paths` are those of the scope.
    pub(super) fn new(written: Fragment, paths: Paths) -> Self {
        let every = written.interval.unwrap_or(6 * HOUR);
        let jitter = written.jitter.unwrap_or(10 * MINUTE);
        let own = |unit: super::fragment::UnitFragment| UnitSettings {
            settle: unit.settle,
            rollback: unit.rollback,
            health: unit.health,
            probe: unit.probe,
            probe_timeout: unit.probe_timeout,
            start_timeout: unit.start_timeout,
            group: unit.group,
            rules: Rules { mode: unit.mode, windows: unit.window, cooldown: unit.cooldown },
        };
        Self {
            paths: Paths {
                state: written.paths.state.unwrap_or(paths.state),
                run: written.paths.run.unwrap_or(paths.run),
            },
            schedule: match written.schedule.unwrap_or(ScheduleWord::Interval) {
                ScheduleWord::Interval => Schedule::Interval { every, jitter },
                ScheduleWord::Timer => Schedule::Timer,
            },
            settle: written.settle.unwrap_or(Duration::from_secs(10)),
            checks_in_flight: written.checks_in_flight.unwrap_or(32),
            pull_reserve: written.pull_reserve.unwrap_or(10),
            max_parallel: written.max_parallel.unwrap_or(4),
            restart_timeout: written.restart_timeout.unwrap_or(15 * MINUTE),
            rollback: written.rollback.unwrap_or(Rollback::Back),
            backoff_max: written.backoff_max.unwrap_or(24 * HOUR),
            quarantine_expiry: written.quarantine_expiry.unwrap_or(None),
            keep_images: written.keep_images.unwrap_or(2),
            cleanup_per_pass: written.cleanup_per_pass.unwrap_or(10),
            disk_budget: written.disk_budget.unwrap_or(0),
            min_free: written.min_free.unwrap_or_default(),
            max_download_rate: written.max_download_rate.filter(|rate| *rate > 0),
            rules: Rules {
                mode: Some(written.mode.unwrap_or_default()),
                windows: Some(written.window.unwrap_or_default()),
                cooldown: Some(written.cooldown.unwrap_or_default()),
            },
            registry: RegistrySettings {
                proxy: written.registry.proxy.unwrap_or_default(),
                no_proxy: written.registry.no_proxy.unwrap_or_default(),
            },
            podman: written.podman.enabled.unwrap_or(true).then(|| PodmanSettings {
                program: written.podman.program.unwrap_or_else(|| "/usr/bin/podman".into()),
                timeout: written.podman.timeout.unwrap_or(MINUTE),
            }),
            notify: NotifySettings::new(written.notify),
            units: written.unit.into_iter().map(|(name, unit)| (name, own(unit))).collect(),
        }
    }
}

impl NotifySettings {
    fn new(written: NotifyFragment) -> Self {
        let NotifyFragment { on, command, webhook, webhook_token_file, timeout } = written;
        let bad = [OutcomeKind::RolledBack, OutcomeKind::Failed, OutcomeKind::NeedsOperator];
        let url = webhook.filter(|url| !url.is_empty());
        Self {
            on: on.unwrap_or_else(|| bad.into()),
            command: command.unwrap_or_default(),
            webhook: url.map(|url| Webhook { url, token_file: webhook_token_file }),
            timeout: timeout.unwrap_or(MINUTE / 2),
        }
    }
}
