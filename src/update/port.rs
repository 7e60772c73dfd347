//! The ports: what the pipeline needs from the edges, as traits the edges implement.
//!
//! Futures are not `Send`: every program of this project runs on a current-thread runtime.
#![allow(async_fn_in_trait, reason = "ports are used generically on one thread only")]

mod observer;
mod registry;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future;
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use self::observer::{Observer, Pulling};
pub use self::registry::Registry;
use super::report::{Entry, Excerpt};
use crate::model::{
    Asker, Bystander, Container, ContainerId, Digest, EngineKind, Failure, FailureKind,
    HealthState, ImageIdentity, ImageSource, Probe, Reference, UnitName,
};
use crate::plan::probation::Probation;
pub use crate::plan::retention::{Clearing, Part, Pin, Pulled, Shelf, Stock, Stored};
use crate::plan::rollout::Progress;
use crate::plan::{Approvals, Holds, Memory, Quarantine, Quarantined, Rollout};
pub use crate::plan::{Budget, Followers, JobResult};

/// What an engine found: the containers, and what it could not read (each skipped, and said).
#[derive(Debug, Default)]
pub struct Inventory {
    pub containers: Vec<Container>,
    /// Where an engine has no bindings: who follows the tags, unasked.
    pub bystanders: Vec<Bystander>,
    pub problems: Vec<Failure>,
    /// Those that no rollback can hold.
    pub asking: Vec<Asker>,
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub container: ContainerId,
    pub image: ImageIdentity,
    /// Further digests by which the engine knows that image.
    pub digests: Vec<Digest>,
    /// How often its engine restarted it, whatever its unit says.
    pub restarts: u32,
    /// `None` where nobody checks it.
    pub health: Option<Health>,
}

impl Running {
    /// Whether it runs the image with this manifest.
    pub fn runs(&self, manifest: &Digest) -> bool {
        &self.image.manifest == manifest || self.digests.contains(manifest)
    }
}

/// What a container's health checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    pub state: HealthState,
    /// Checks in a row that failed.
    pub failing_streak: u32,
    /// Within this time from its start, it has been checked in earnest.
    pub patience: Duration,
}

/// What came of a [`Clearing`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    /// The images that went, by [`Stored::id`].
    pub removed: Vec<Digest>,
    /// Why others did not, where that was not said before.
    pub failures: Vec<Failure>,
}

/// A container engine and its image store. A host may have several, each with its own containers.
pub trait Engine {
    fn kind(&self) -> EngineKind;

    /// Running containers that carry the update label, each with its true owning unit.
    async fn inventory(&self) -> Result<Inventory, Failure>;

    /// The image that `reference` names in local storage, for the policy `local`.
    async fn local(&self, reference: &Reference) -> Result<Option<ImageIdentity>, Failure>;

    /// Brings the image into local storage by digest; moves no tag. Idempotent. What was not there before
    /// is noted as pulled by us, and when it was wanted. All images of a pass are
    /// asked for at once: how many are pulled at the same time is the engine's choice.
    async fn stage(&self, source: &ImageSource, image: &ImageIdentity) -> Result<(), Failure>;

    /// Has `image`, which `unit` runs for `reference`, stay in storage, so that it can be put back
    /// whatever else is removed, until [`Engine::clear`] lets go of it. Idempotent.
    async fn keep(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure>;

    /// All that is in storage, and what it is kept for; what it takes, where that is to be `weighed`.
    async fn stock(&self, weighed: bool) -> Result<Stock, Failure> {
        let _ = weighed;
        Ok(Stock::default())
    }

    /// Carries out what was planned for its stock, as far as it still holds: what somebody needs by now
    /// stays. What fails now is tried again when it is planned again.
    async fn clear(&self, clearing: &Clearing) -> Result<Cleared, Failure> {
        let _ = clearing;
        Ok(Cleared::default())
    }

    /// The images in storage that `unit` can be given for `reference` without asking anybody: those
    /// kept for it, and those of `known`, manifests that it had.
    async fn kept(
        &self,
        unit: &UnitName,
        reference: &Reference,
        known: &[Digest],
    ) -> Result<Vec<ImageIdentity>, Failure>;

    /// From now on `unit` gets `image` for `reference`, whatever the tag says; where the engine has
    /// no bindings, the tag moves for all. Durable on return.
    async fn bind(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure>;

    /// Moves the tag `reference` to `image`. Durable on return.
    async fn tag(&self, reference: &Reference, image: &ImageIdentity) -> Result<(), Failure>;

    /// Ends a binding: `unit` gets what the tag says. No binding is no error.
    async fn unbind(&self, unit: &UnitName, reference: &Reference) -> Result<(), Failure>;

    /// Whether `unit` would get `image` for `reference` at a start now.
    async fn gives(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<bool, Failure>;

    /// What `unit`'s containers of `reference` are now; none where none runs.
    async fn running(
        &self,
        unit: &UnitName,
        reference: &Reference,
    ) -> Result<Vec<Running>, Failure>;
}

/// What systemd says of a unit, read in one go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    pub sub: String,
    /// The service's `Result`: `success`, `exit-code`, `signal`, ….
    pub result: String,
    /// The exit status of the main process; 0 while it runs (`ExecMainStatus`).
    pub main_status: i32,
    /// The type of the job that is queued or runs for the unit: `start`, `stop`, `restart`, ….
    pub job: Option<String>,
    /// Whether somebody asked the unit to stop: it has a job that says so, or it left its active
    /// state before its main process ended.
    pub stopped_on_request: bool,
    /// Whether it was started since the host booted.
    pub was_started: bool,
    /// When it left its active state last, on the manager's clock.
    pub left: Duration,
    /// Whether it runs to an end of its own: `Type=oneshot`, or started by a timer or a path.
    pub transient: bool,
    /// Whether systemd has a file for it.
    pub is_there: bool,
    /// Whether its container started in this run: of `Type=notify`, the unit became active then.
    pub announced: bool,
    /// Automatic restarts since the last explicit start.
    pub restarts: u32,
    /// 32 hexadecimal digits; changes at each start.
    pub invocation: String,
}

/// What is to be known of a unit of any type that stops with another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// As [`UnitState::active`].
    pub active: String,
    /// As [`UnitState::job`].
    pub job: Option<String>,
    pub sub: String,
    /// Whether it left its active state without having failed. systemd stops a unit for another one
    /// in the same way as for an operator.
    pub stopped_on_request: bool,
    /// Whether its program came to its end by itself, and well.
    pub came_to_its_end: bool,
    pub was_started: bool,
    /// Whether another unit has it started, as a target does at boot.
    pub is_enabled: bool,
    /// Whether it runs to an end of its own.
    pub transient: bool,
    /// When it became active last, on the manager's clock.
    pub entered: Duration,
    pub left: Duration,
    /// As [`UnitState::restarts`]; 0 of a unit that is no service.
    pub restarts: u32,
    pub invocation: String,
}

/// Why a job could not be queued or followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobError {
    /// The host is shutting down: the transaction was refused, which proves nothing.
    ShuttingDown(String),
    /// Not asked for: the service itself is stopping.
    ServiceStopping,
    /// No such unit, or it cannot be loaded.
    NoSuchUnit(String),
    /// Refused for another reason: nothing was queued.
    Refused(Failure),
    /// The bus, or systemd on it, went away: the job may have been queued.
    Lost(String),
    /// The job did not end in time.
    Stuck(Failure),
}

/// systemd's manager.
pub trait Manager {
    /// Delays a shutdown of the host while it lives.
    type Delay;

    /// Asks for a shutdown to be delayed; `why` is for people. A host that cannot is not delayed.
    async fn delay_shutdown(&self, why: &str) -> Self::Delay;
    /// Which run of systemd this is: another one means that all units were started anew. Empty where
    /// that cannot be told.
    async fn boot(&self) -> String;
    /// Whether the host, or the user's manager, is stopping everything.
    async fn is_shutting_down(&self) -> bool;
    /// Whether the service itself is stopping: units are put back then, and none is begun.
    fn is_winding_down(&self) -> bool {
        false
    }
    async fn state(&self, unit: &UnitName) -> Result<UnitState, Failure>;
    /// `TryRestartUnit(unit, "replace")`, waited for. A unit that is not running stays so.
    async fn try_restart(&self, unit: &UnitName) -> Result<JobResult, JobError>;
    /// `RestartUnit(unit, "replace")`, waited for.
    async fn restart(&self, unit: &UnitName) -> Result<JobResult, JobError>;
    /// `StartUnit(unit, "replace")`, of a unit of any type, waited for.
    async fn start(&self, unit: &str) -> Result<JobResult, JobError>;
    /// `StopUnit(unit, "replace")`, waited for.
    async fn stop(&self, unit: &UnitName) -> Result<JobResult, JobError>;
    /// `ResetFailedUnit`: a start limit must not refuse the rollback. Not failed is no error.
    async fn reset_failed(&self, unit: &str) -> Result<(), Failure>;
    /// A unit of any type.
    async fn standing(&self, unit: &str) -> Result<Standing, Failure>;
    /// Who comes after a unit of any type, and who stops with it.
    async fn followers(&self, unit: &str) -> Result<Followers, Failure>;
    /// Ends when a job of one of these units has ended; never, where that cannot be heard.
    async fn job_ended(&self, units: &[UnitName]);
    /// Now, on the clock of the times that it tells.
    fn now(&self) -> Duration;
}

/// A unit that runs and stops with another one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependent {
    pub unit: String,
    /// systemd had restarted it by itself shortly before: that it does so again, or that it fails,
    /// says nothing of the other one.
    pub restless: bool,
}

/// A run that was left at work with the image that it had.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtWork {
    pub invocation: String,
    pub at: Timestamp,
}

/// A rollout that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InFlight {
    pub rollout: Rollout,
    pub progress: Progress,
    pub started: Timestamp,
    pub trigger: String,
    /// Whether a failure of each step goes back, as it was configured when the rollout began.
    pub rollback: Vec<bool>,
    /// For each unit of it that was about to be restarted: those that run and stop with it.
    #[serde(default)]
    pub dependents: BTreeMap<UnitName, Vec<Dependent>>,
    /// The boot in which they were found.
    #[serde(default)]
    pub boot: String,
    /// When the pass began that it is of.
    #[serde(default)]
    pub pass: Option<Timestamp>,
    /// Where an operator had units go back: the images that are left, and not to come again.
    #[serde(default)]
    pub undoes: Option<Vec<Digest>>,
    /// The runs of its units that were left at work.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at_work: BTreeMap<UnitName, AtWork>,
    /// What its units wrote last where they failed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logs: BTreeMap<UnitName, Vec<Excerpt>>,
}

/// What is remembered on disk. Every write is durable on return.
pub trait Ledger {
    /// Sets aside what is damaged, and says so: one line for each.
    fn mend(&self) -> Result<Vec<String>, Failure>;
    /// What would be set aside.
    fn damage(&self) -> Result<Vec<String>, Failure>;
    fn quarantine(&self) -> Result<Quarantine, Failure>;
    fn add_to_quarantine(&self, entry: Quarantined) -> Result<(), Failure>;
    /// Forgets those that are over, so that what fails again is quarantined anew.
    fn drop_from_quarantine(&self, over: &dyn Fn(&Quarantined) -> bool) -> Result<(), Failure>;
    /// The units that an operator has left alone.
    fn holds(&self) -> Result<Holds, Failure>;
    /// The images that somebody approved.
    fn approvals(&self) -> Result<Approvals, Failure>;
    fn memory(&self) -> Result<Memory, Failure>;
    fn save_memory(&self, memory: &Memory) -> Result<(), Failure>;
    fn in_flight(&self) -> Result<Vec<InFlight>, Failure>;
    /// Writes the rollout down; one with the same reference and image is replaced.
    fn save_rollout(&self, rollout: &InFlight) -> Result<(), Failure>;
    fn end_rollout(&self, rollout: &InFlight) -> Result<(), Failure>;
    /// What units are to prove by their next run.
    fn probations(&self) -> Result<Vec<Probation>, Failure>;
    /// Writes one down; that of the same unit and reference is replaced.
    fn save_probation(&self, probation: &Probation) -> Result<(), Failure>;
    fn end_probation(&self, probation: &Probation) -> Result<(), Failure>;
    fn append(&self, entry: &Entry) -> Result<(), Failure>;
}

/// What units wrote into the journal.
pub trait Journal {
    /// The last lines of these runs of a unit, which have these invocation IDs, oldest first: few,
    /// short and plain text. `Err` says why they cannot be read.
    async fn last(&self, invocations: &[String]) -> Result<Vec<String>, String>;

    /// Whether the last job of `unit` that systemd told the end of since then was a stop that
    /// somebody asked for. `Err` says why that cannot be read.
    async fn tells_of_a_stop(&self, unit: &UnitName, since: Timestamp) -> Result<bool, String>;

    /// What its manager told since then of the runs of a unit, oldest first.
    async fn runs(&self, unit: &UnitName, since: Timestamp) -> Result<Vec<RunTold>, String>;
}

/// What the manager told of one run of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunTold {
    pub invocation: String,
    /// The service's `Result`, where the run has ended.
    pub result: Option<String>,
    /// The exit status of its main process, or the signal that ended it.
    pub status: Option<i32>,
    /// Whether somebody's job asked it to stop.
    pub stop_asked: bool,
}

/// Asks services whether they are well.
pub trait Prober {
    /// Asks once; `Err` says why the service is not well, or did not answer within `time`.
    async fn ask(&self, probe: &Probe, time: Duration) -> Result<(), String>;
}

/// Time, so that tests need none.
pub trait Clock {
    fn now(&self) -> Timestamp;
    /// Time since some fixed point, which no clock change moves.
    fn monotonic(&self) -> Duration;
    /// The zone of this name, or the host's; `None` where the host does not know it.
    fn zone(&self, name: Option<&str>) -> Option<TimeZone>;
    /// A random number from 0 up to, but not, 1.
    fn random(&self) -> f64;
    async fn sleep(&self, time: Duration);
}

/// All ports of one host.
pub trait World {
    type Registry: Registry;
    type Engine: Engine;
    type Manager: Manager;
    type Journal: Journal;
    type Prober: Prober;
    type Ledger: Ledger;
    type Clock: Clock;
    type Observer: Observer;

    fn registry(&self) -> &Self::Registry;
    /// The engines of the host, each of a kind of its own.
    fn engines(&self) -> &[Self::Engine];
    fn manager(&self) -> &Self::Manager;
    fn journal(&self) -> &Self::Journal;
    fn prober(&self) -> &Self::Prober;
    fn ledger(&self) -> &Self::Ledger;
    fn clock(&self) -> &Self::Clock;
    fn observer(&self) -> &Self::Observer;

    /// The engine of this kind.
    fn engine(&self, kind: EngineKind) -> Result<&Self::Engine, Failure> {
        let found = self.engines().iter().find(|engine| engine.kind() == kind);
        found.ok_or_else(|| {
            let message = format!("the engine {kind} is switched off in the configuration");
            Failure::new(FailureKind::Configuration, message)
        })
    }

    /// What runs on the host; all engines are asked at once. An engine that cannot say is a problem beside what the others say;
    /// where none can, it is a failure.
    async fn inventory(&self) -> Result<Inventory, Failure> {
        let mut all = Inventory::default();
        let mut failures = Vec::new();
        let found = future::join_all(self.engines().iter().map(Engine::inventory)).await;
        for found in found {
            match found {
                Ok(found) => {
                    all.containers.extend(found.containers);
                    all.bystanders.extend(found.bystanders);
                    all.problems.extend(found.problems);
                    all.asking.extend(found.asking);
                }
                Err(failure) => failures.push(failure),
            }
        }
        if failures.len() == self.engines().len()
            && let Some(failure) = failures.pop()
        {
            return Err(failure);
        }
        all.problems.extend(failures);
        Ok(all)
    }
}
