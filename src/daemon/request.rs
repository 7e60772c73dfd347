//! What others ask of the running daemon: the D-Bus service sends, the main loop answers.
//!
//! What must not live here: D-Bus, passes. Answers are JSON documents, ready to be sent.

use tokio::sync::{mpsc, oneshot};

use super::api::Error;
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
