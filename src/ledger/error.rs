//! What can go wrong with the ledger.

use std::io;
use std::path::PathBuf;

use crate::model::{Failure, FailureKind};

/// A file of the ledger that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "{path} is damaged: move it away to go on without what it says",
        path = path.display()
    )]
    Json { path: PathBuf, source: serde_json::Error },
    #[error(
        "{path}:{line} is damaged: delete the line to go on without it",
        path = path.display()
    )]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Read { source, .. } | Error::Write { source, .. } => FailureKind::of_io(source),
            Error::Json { .. } | Error::Line { .. } => FailureKind::Local,
        };
        Self::from_error(kind, &error)
    }
}
