//! What the service offers, whoever does it: the daemon for its callers, the D-Bus client for
//! `updaterctl`, or this very process where there is no service ([`super::pass::Pass`]).
#![allow(async_fn_in_trait, reason = "used generically on one thread only")]

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, EngineKind, Failure, Reference, UnitName};
use crate::plan::registries::LastFailure;
use crate::plan::{Approval, Budget, Gate, Hold, Plan, Quarantined};
use crate::update::{Entry, OutcomeKind, Report, Trigger};

/// Why an operation of the service could not be done at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another process holds the pass lock.
    #[error("{0}")]
    Busy(String),
    /// The arguments make no sense to the service.
    #[error("{0}")]
    InvalidArguments(String),
    #[error("{0}")]
    Failed(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.message)
    }
}

/// The operations of the service.
pub trait Api {
    /// What an update of everything would do, and for everything else why not. Changes nothing.
    async fn check(&self) -> Result<Checked, Error>;

    /// Brings `units` (empty: all) up to date.
    async fn update(&self, units: &[UnitName], trigger: Trigger) -> Result<Report, Error>;

    /// Has `units` go back to the image that `to` names (a digest or its beginning), or to what each
    /// ran before its last update. Asks no registry; what cannot be done for one is done for none.
    async fn roll_back(&self, units: &[UnitName], to: Option<&str>) -> Result<Report, Error>;

    /// The containers with the update label, as they are now, those that may have it but cannot be
    /// read, and the units whose last update left none. Asks no registry.
    async fn units(&self) -> Result<Vec<UnitStatus>, Error>;

    /// The registries' hosts that the containers' images are checked at, and how they stand. Asks none.
    async fn registries(&self) -> Result<Vec<RegistryStatus>, Error>;

    /// The ends of updates that are asked for, newest first.
    async fn history(&self, query: &HistoryQuery) -> Result<Vec<Entry>, Error>;

    /// The images that are not tried again on this host.
    async fn quarantine(&self) -> Result<Vec<Held>, Error>;

    /// Has `units` left alone until then, or until somebody ends it; a unit that is held is held anew.
    /// All of them, or none where systemd knows one of them not.
    async fn hold(&self, units: &[UnitName], hold: &Holding) -> Result<Hold, Error>;

    /// Ends the holds of `units` (empty: all), and returns those that were held.
    async fn unhold(&self, units: &[UnitName]) -> Result<Vec<UnitName>, Error>;

    /// Approves the images that `units` (empty: all) wait for: that of a digest (or its beginning, 12
    /// digits at least), or whichever it is for `None`. Returns what was approved by this.
    async fn approve(
        &self,
        units: &[UnitName],
        digest: Option<&str>,
    ) -> Result<Vec<Approval>, Error>;

    /// Ends quarantines: those of a digest (or its beginning, 12 digits at least) or of a
    /// repository, or all for `None`. Returns what was ended.
    async fn clear_quarantine(&self, what: Option<&str>) -> Result<Vec<Quarantined>, Error>;
}

/// How units are held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// `None` is until somebody ends it.
    pub until: Option<Timestamp>,
    /// Why, for people; in one line.
    pub reason: String,
}

/// An image that is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    #[serde(flatten)]
    pub image: Quarantined,
    /// When it may be; `None` is when somebody says so.
    pub expires: Option<Timestamp>,
}

/// How a registry's host stands, as far as it is known without asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryState {
    /// It answered when it was asked last.
    Answering,
    /// No pass has asked it yet.
    NotAsked,
    /// Nothing was reached when it was asked last.
    Unreachable,
    /// It said that it is asked too much.
    RateLimited,
    /// It answers, and only the pulls that are kept back are left.
    BudgetSpent,
}

/// A registry's host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryStatus {
    pub registry: String,
    pub state: RegistryState,
    /// How many images are checked there.
    pub images: usize,
    /// `None` where it does not count pulls.
    pub budget: Option<Budget>,
    /// Its last failure, also where it has answered since.
    pub last_failure: Option<LastFailure>,
    /// When it is asked, or pulled from, again; `None` where the next check is the one.
    pub next_try: Option<Timestamp>,
}

/// Which ends of updates are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Of these units; none means all.
    pub units: Vec<UnitName>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Those that ended so; none means all.
    pub outcomes: Vec<OutcomeKind>,
    /// The newest of them, so many at most.
    pub limit: usize,
}

impl HistoryQuery {
    /// Whether this is one of those that are asked for.
    pub fn matches(&self, entry: &Entry) -> bool {
        let Entry { ended, outcome, .. } = entry;
        (self.units.is_empty() || self.units.contains(&outcome.unit))
            && self.since.is_none_or(|since| *ended >= since)
            && (self.outcomes.is_empty() || self.outcomes.contains(&outcome.result))
    }
}

/// How a container stands, as far as it is known without asking a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is checked at each pass.
    Followed,
    /// A rollout is under way.
    Updating,
    /// Its next run has to prove the image that it was given.
    OnProbation,
    /// The registry's answer to the last check was a failure.
    CheckFailing,
    /// Its last update was taken back.
    RolledBack,
    /// Its last update needs an operator. Where nothing runs, it left nothing.
    NeedsOperator,
    /// An operator has it left alone.
    Held,
    /// An image is there for it that it may not have yet.
    Waiting,
    /// Its policy is `disabled`.
    Disabled,
    /// Its reference names a digest.
    Pinned,
    /// Its label's value names no policy.
    InvalidPolicy,
    /// No systemd unit owns it.
    NoUnit,
    /// Its record cannot be read: nothing is known of it.
    Unknown,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    #[serde(flatten)]
    pub plan: Plan,
    /// The units that are in no plan, because their last update left nothing running.
    #[serde(default)]
    pub not_running: Vec<UnitStatus>,
    /// The units that are in no plan, because they are at rest until their next run, which has to
    /// prove what they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<UnitStatus>,
}

/// A container that carries the update label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub container: String,
    pub engine: EngineKind,
    /// The policy, or what the label says where that is none.
    pub policy: String,
    /// The platform manifest it runs.
    pub image: Digest,
    /// The credentials file that a label or a flag names for its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authfile: Option<PathBuf>,
}

/// How one container stands, or one unit whose container did not come back; or that something is
/// there of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStatus {
    pub unit: Option<UnitName>,
    /// `None` where that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// `None` where the unit's last update left nothing running, or nothing is known.
    #[serde(flatten)]
    pub running: Option<Running>,
    pub standing: Standing,
    /// What keeps it from the image that is there for it, what lasts longest first; an operator's hold
    /// also where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// Why, where there is a why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The unit's last update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Entry>,
}
