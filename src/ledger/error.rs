//! What can go wrong with the ledger.

use std::io;
use std::path::PathBuf;

use super::seal::{Fault, SCHEMA};
use crate::model::{Failure, FailureKind};

/// A file of the ledger that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot put what is to be written into words")]
    Words(#[from] serde_json::Error),
    #[error("{path} is damaged; the next pass sets it aside", path = path.display())]
    Damaged { path: PathBuf, source: Fault },
    #[error("{path}:{line} is damaged; the next pass sets it aside", path = path.display())]
    Line { path: PathBuf, line: usize, source: Fault },
    #[error(
        "{path} was written by a newer version of updaterd (schema {schema}, and this one knows \
         {SCHEMA}): install that version again, or move the file away to go on without what it says",
        path = path.display()
    )]
    Newer { path: PathBuf, schema: u32 },
    #[error(
        "{path} was written by another version of updaterd, and says what this one does not know: \
         install that version again, or move the file away to go on without what it says",
        path = path.display()
    )]
    Foreign { path: PathBuf, source: serde_json::Error },
}

impl Error {
    /// What is wrong with what was read from `path`.
    pub(super) fn of(path: PathBuf, fault: Fault) -> Self {
        match fault {
            Fault::Newer(schema) => Self::Newer { path, schema },
            Fault::Foreign(source) => Self::Foreign { path, source },
            source => Self::Damaged { path, source },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Read { source, .. } | Error::Write { source, .. } => FailureKind::of_io(source),
            _ => FailureKind::Local,
        };
        Self::from_error(kind, &error)
    }
}
