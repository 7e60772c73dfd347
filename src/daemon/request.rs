//! What others ask of the running daemon: the D-Bus service sends, the main loop answers.
//!
//! What must not live here: D-Bus, passes. Answers are JSON documents, ready to be sent.

use tokio::sync::{mpsc, oneshot};

use crate::model::UnitName;
use crate::update::Trigger;

/// One thing asked of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// What would be done. Changes nothing.
    Check,
    /// Make a pass over these units; none means all.
    Update { units: Vec<UnitName>, trigger: Trigger },
    /// The containers that take part, as they are now.
    ListUnits,
    /// What was done, newest first.
    History { unit: Option<UnitName>, limit: usize },
    /// The quarantined images.
    Quarantine,
    /// Ends quarantines: of one digest or repository, or all where nothing is named.
    ClearQuarantine { what: Option<String> },
    /// Read the configuration again.
    Reload,
}

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Another pass holds the lock.
    #[error("{0}")]
    Busy(String),
    /// The arguments make no sense.
    #[error("{0}")]
    InvalidArguments(String),
    #[error("{0}")]
    Failed(String),
}

/// A call with the place its answer goes to.
#[derive(Debug)]
pub struct Request {
    pub call: Call,
    pub reply: oneshot::Sender<Result<String, CallError>>,
}

/// Sends `call` to the main loop and waits for the answer, a JSON document.
pub async fn ask(requests: &mpsc::Sender<Request>, call: Call) -> Result<String, CallError> {
    let stopping = || CallError::Failed("the service is stopping".into());
    let (reply, answer) = oneshot::channel();
    requests.send(Request { call, reply }).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?
}
