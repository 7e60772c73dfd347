//! A failure of one step on one thing, as it is written into plans, reports and the ledger.

use std::io;
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
    /// 429, with the time the registry asked to wait, where it did; or 503 with such a time.
    RateLimited(Option<Duration>),
    /// Any other 5xx.
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

impl FailureKind {
    /// What an error of a file means.
    pub fn of_io(cause: &io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::StorageFull,
            _ => Self::Local,
        }
    }
}

/// One failure: its kind, and the whole chain of causes, outermost first, as plain text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: plain(&message.into()) }
    }

    /// Takes an error with all its causes, joined by `: `.
    pub fn from_error(kind: FailureKind, error: &dyn std::error::Error) -> Self {
        Self::new(kind, chain(error))
    }
}

/// An error and its causes on one line of plain text, outermost first, joined by `: `. A cause that
/// the error before it ends with is not said twice.
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
    plain(&text)
}

/// `text`, fit for a terminal and a log whatever was put into it: no control characters, no
/// invisible ones that reorder text.
pub fn plain(text: &str) -> String {
    let reorders = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    text.chars().map(|c| if c.is_control() || reorders(c) { ' ' } else { c }).collect()
}

/// The beginning of `text` from outside, as plain text: 300 characters at most.
pub fn excerpt(text: &str) -> String {
    plain(text).chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_made_plain() {
        let (evil, tame) = ("a\x1b[31m\nb\u{202e}c\u{9b}d", "a [31m b c d");
        assert_eq!(excerpt(evil), tame);
        assert_eq!(excerpt(&"x".repeat(1000)).len(), 300);
        assert_eq!(Failure::new(FailureKind::Local, evil).message, tame);
        let error = io::Error::other(evil);
        assert_eq!(Failure::from_error(FailureKind::Local, &error).message, tame);
        assert_eq!(chain(&error), tame);
        assert_eq!(plain(&"x".repeat(1000)).len(), 1000, "no cause is cut off");
    }

    #[test]
    fn what_is_refused_is_quoted_plain() {
        let evil = "\x1b[31m\u{202e}";
        for message in [
            evil.parse::<crate::model::Digest>().unwrap_err().to_string(),
            evil.parse::<crate::model::ContainerId>().unwrap_err().to_string(),
            evil.parse::<crate::model::UnitName>().unwrap_err().to_string(),
            evil.parse::<crate::model::Reference>().unwrap_err().to_string(),
        ] {
            assert_eq!(plain(&message), message);
        }
    }

    #[derive(Debug, thiserror::Error)]
    enum Told {
        #[error("cannot ask: {0}")]
        Twice(#[source] io::Error),
        #[error("cannot ask")]
        Once(#[source] io::Error),
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = || io::Error::other("no such file");
        assert_eq!(chain(&Told::Twice(cause())), "cannot ask: no such file");
        assert_eq!(chain(&Told::Once(cause())), "cannot ask: no such file");
    }
}
