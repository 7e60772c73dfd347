//! A failure of one step on one thing, as it is written into plans, reports and the ledger.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What kind of failure it was: what decides about the next attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// No connection, no name, no answer in time, TLS that fails.
    Unreachable,
    /// 401 or 403, or credentials that cannot be read.
    Unauthorized,
    /// The repository, the tag or the digest is not there.
    NotFound,
    /// 429; with the time the registry asked to wait, where it did.
    RateLimited(Option<Duration>),
    /// 5xx.
    ServerError,
    /// The answer is not what the specification says, too large, or does not match its digest.
    InvalidContent,
    /// This host's configuration forbids it or cannot be read.
    Configuration,
    /// The disk is full or a quota is used up.
    StorageFull,
    /// Another operation of this host failed: a file, a process, the bus.
    Local,
    /// The operator, or a shutdown, ended it.
    Cancelled,
}

/// One failure: its kind, and the whole chain of causes, outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Takes an error with all its causes, joined by `: `.
    pub fn from_error(kind: FailureKind, error: &dyn std::error::Error) -> Self {
        Self::new(kind, chain(error))
    }
}

/// An error and its causes on one line, outermost first, joined by `: `. A cause that the error
/// before it ends with is not said twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Told {
        #[error("cannot ask: {0}")]
        Twice(#[source] std::io::Error),
        #[error("cannot ask")]
        Once(#[source] std::io::Error),
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = || std::io::Error::other("no such file");
        assert_eq!(chain(&Told::Twice(cause())), "cannot ask: no such file");
        assert_eq!(chain(&Told::Once(cause())), "cannot ask: no such file");
    }
}
