//! What can go wrong in the store, and what kind of failure each is.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::pull::LayerFault;
use super::unpack;
use crate::model::failure::excerpt;
use crate::model::{Digest, Failure, FailureKind, Reference};

/// An operation of the store that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is damaged: {}", path.display(), remedy(path))]
    Syntax { path: PathBuf, source: serde_json::Error },
    #[error("no image {0} in local storage")]
    NoSuchImage(Digest),
    /// Why the registry did not give it; names the image.
    #[error(transparent)]
    Remote(Failure),
    #[error("{image}: {why}")]
    Refused { image: Box<Reference>, why: String },
    #[error("{image}: layer {layer}")]
    Layer { image: Box<Reference>, layer: Digest, source: LayerFault },
    #[error("{image} does not fit on the disk")]
    Space { image: Box<Reference>, source: unpack::Fault },
    #[error("cannot copy the layer {} for another map of users", path.display())]
    Copy { path: PathBuf, source: unpack::Fault },
    #[error("a thread of the pull of {0} died")]
    Died(Box<Reference>),
    #[error("{0} has no tag that could be moved")]
    NoTag(Box<Reference>),
}

/// What to do about a damaged file, which its name tells.
fn remedy(path: &Path) -> &'static str {
    match path.file_name().and_then(OsStr::to_str) {
        Some("record.json") => "restart the container's unit, which writes it anew",
        Some("health.json") => "the container's next check writes it anew",
        Some("index.json") => "move it away, and pull the images again",
        _ => "move it away to go on without what it says",
    }
}

impl Error {
    /// `why` may quote what came from outside.
    pub(super) fn refused(image: &Reference, why: &str) -> Self {
        Self::Refused { image: Box::new(image.clone()), why: excerpt(why) }
    }

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::io("read", path, source)
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::io("write", path, source)
    }

    pub(super) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }

    /// The kind of failure, which decides about the next attempt.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Io { source, .. } => FailureKind::of_io(source),
            Self::Syntax { .. } => FailureKind::Local,
            Self::Remote(failure) => failure.kind.clone(),
            Self::Refused { .. } => FailureKind::InvalidContent,
            Self::Layer { source, .. } => source.kind(),
            Self::Space { source, .. } => source.kind(),
            Self::Copy { source, .. } => source.kind(),
            Self::Died(_) => FailureKind::Local,
            Self::NoSuchImage(_) => FailureKind::NotFound,
            Self::NoTag(_) => FailureKind::Configuration,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from_error(error.kind(), &error)
    }
}
