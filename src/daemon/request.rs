//! What others ask of the running daemon: the D-Bus service sends, the main loop answers.
//!
//! What must not live here: D-Bus, passes. Answers are JSON documents, ready to be sent.

use tokio::sync::{mpsc, oneshot};

use super::api::{Api, Error, HistoryQuery, Holding};
use crate::model::UnitName;
use crate::update::Trigger;

/// One thing asked of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// What would be done. Changes nothing.
    Check,
    /// Make a pass over these units; none means all.
    Update { units: Vec<UnitName>, trigger: Trigger },
    /// Have these units go back, to the image named or to what each ran before.
    Rollback { units: Vec<UnitName>, to: Option<String> },
    /// The containers that take part, as they are now.
    ListUnits,
    /// The registries' hosts, as far as they are known.
    ListRegistries,
    /// What was done, newest first.
    History(HistoryQuery),
    /// The quarantined images.
    Quarantine,
    /// Ends quarantines: of one digest or repository, or all where nothing is named.
    ClearQuarantine { what: Option<String> },
    /// Have these units left alone.
    Hold { units: Vec<UnitName>, hold: Holding },
    /// End the holds of these units; none means all.
    Unhold { units: Vec<UnitName> },
    /// Approve images for these units, or all: one, or what each waits for.
    Approve { units: Vec<UnitName>, digest: Option<String> },
    /// Read the configuration again.
    Reload,
}

/// What kind of thing a call is, for the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Registries are asked, nothing is changed.
    Check,
    /// A pass: takes its turn.
    Pass,
    /// Restarts units as a pass does, and asks no registry: takes its turn among them.
    Rollback,
    /// Changes what passes read: takes its turn among them.
    Change,
    /// What is known already, or what passes look at again while they are under way: takes no turn.
    Aside,
    /// Concerns the loop itself.
    Reload,
}

impl Call {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Check => Kind::Check,
            Self::Update { .. } => Kind::Pass,
            Self::Rollback { .. } => Kind::Rollback,
            Self::ClearQuarantine { .. } => Kind::Change,
            Self::ListUnits
            | Self::ListRegistries
            | Self::History(_)
            | Self::Quarantine
            | Self::Hold { .. }
            | Self::Unhold { .. }
            | Self::Approve { .. } => Kind::Aside,
            Self::Reload => Kind::Reload,
        }
    }
}

/// A call with the place its answer goes to.
#[derive(Debug)]
pub struct Request {
    pub call: Call,
    pub reply: oneshot::Sender<Result<String, Error>>,
}

/// What callers hear whose answer the main loop did not live to give.
const STOPPING: &str = "the service is stopping; an update that it had begun is taken up at the \
                        next start: see \"updaterctl history\"";

/// Sends `call` to the main loop and waits for the answer, a JSON document.
pub async fn ask(requests: &mpsc::Sender<Request>, call: Call) -> Result<String, Error> {
    let stopping = || Error::Failed(STOPPING.into());
    let (reply, answer) = oneshot::channel();
    requests.send(Request { call, reply }).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?
}

/// Does what was asked; the answer is a JSON document. What concerns the loop itself it has done.
pub async fn answer<A: Api>(api: &A, call: Call) -> Result<String, Error> {
    match call {
        Call::Check => json(&api.check().await?),
        Call::Update { units, trigger } => json(&api.update(&units, trigger).await?),
        Call::Rollback { units, to } => json(&api.roll_back(&units, to.as_deref()).await?),
        Call::ListUnits => json(&api.units().await?),
        Call::ListRegistries => json(&api.registries().await?),
        Call::History(query) => json(&api.history(&query).await?),
        Call::Quarantine => json(&api.quarantine().await?),
        Call::ClearQuarantine { what } => json(&api.clear_quarantine(what.as_deref()).await?),
        Call::Hold { units, hold } => json(&api.hold(&units, &hold).await?),
        Call::Unhold { units } => json(&api.unhold(&units).await?),
        Call::Approve { units, digest } => json(&api.approve(&units, digest.as_deref()).await?),
        Call::Reload => json(&()),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Failed(error.to_string()))
}
