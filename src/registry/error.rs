//! What can go wrong at a registry, and what kind of failure each is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::proxy::{Misnamed, Via};
use crate::model::failure::excerpt;
use crate::model::{Digest, Failure, FailureKind, Platform};

/// A request to a registry that failed: the image asked for, and the problem.
///
/// Clones share their causes, so that one failed connection can be told to all who waited for it.
#[derive(Debug, Clone)]
pub struct Error {
    image: Option<String>,
    problem: Box<Problem>,
}

/// What went wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    #[error("registries configuration {}", path.display())]
    RegistriesConf { path: PathBuf, source: FileFault },
    #[error("credentials file {}", path.display())]
    Credentials { path: PathBuf, source: FileFault },
    #[error("docker-credential-{helper}, which {} names for {server}", file.display())]
    Helper { helper: String, server: String, file: PathBuf, source: HelperFault },
    #[error("certificates of {registry} in {}", path.display())]
    Certificates { registry: String, path: PathBuf, source: FileFault },
    #[error("registries configuration blocks {prefix}")]
    Blocked { prefix: String },
    #[error("registries configuration makes {location:?} of it, which is no image name")]
    InvalidLocation { location: String },
    #[error(
        "TLS for {registry} cannot be set up (the package ca-certificates brings the well-known roots, containers-certs.d(5) has a registry's own)"
    )]
    Tls { registry: String, source: Arc<reqwest::Error> },
    #[error(
        "TLS for {registry} cannot be set up with the client certificates of containers-certs.d(5)"
    )]
    Authorities { registry: String, source: rustls::Error },
    #[error("{peer} cannot be reached{}", Through(.via))]
    Unreachable { peer: String, via: Option<Via>, source: Arc<reqwest::Error> },
    #[error("{peer} cannot be asked")]
    Proxy { peer: String, source: Misnamed },
    #[error(
        "{peer} cannot be reached: {via}, wants another login (NAME:PASSWORD@ before its host)"
    )]
    ProxyLogin { peer: String, via: Via },
    #[error("{peer} broke off its answer")]
    BrokenOff { peer: String, source: Arc<reqwest::Error> },
    #[error("{peer} sent less than {least} bytes in {} seconds", window.as_secs())]
    TooSlow { peer: String, least: u64, window: Duration },
    #[error("{peer} answered {request} with {status}{}", Detail(.detail))]
    Status {
        peer: String,
        request: &'static str,
        status: reqwest::StatusCode,
        /// What the registry itself said, without control characters, 300 characters at most.
        detail: Option<String>,
        retry_after: Option<Duration>,
    },
    #[error("{peer} refuses access{}: {why}{}", Detail(.detail), Whence(.credentials))]
    Unauthorized {
        peer: String,
        why: Denial,
        /// Where the credentials are from, where there are any.
        credentials: Option<Origin>,
        detail: Option<String>,
    },
    #[error(
        "{peer} wants credentials sent over plain HTTP to {realm}; not done, because the registry is not declared insecure"
    )]
    InsecureRealm { peer: String, realm: String },
    /// The registry's own problem, and what its mirrors said.
    #[error("{mirrors} could not help, and the registry itself neither")]
    AfterMirrors { mirrors: String, source: Box<Self> },
    #[error("{peer}: {fault}")]
    Content { peer: String, fault: ContentFault },
}

/// Why access was refused although the request was well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("no credentials for it were found (log in, or name a credentials file)")]
    NoCredentials,
    #[error("the credentials were rejected")]
    Rejected,
    #[error(
        "the credentials were rejected before, and are not tried again before they change (log in, or touch the file), or a day has passed"
    )]
    RejectedBefore,
    #[error("the credentials give no access to this image")]
    NoAccess,
    #[error("it asks for a kind of authentication that is not supported")]
    UnsupportedScheme,
}

/// What is wrong with a file of this host's configuration.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FileFault {
    #[error("cannot be read")]
    Io(#[source] Arc<std::io::Error>),
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    #[error("line {line}: {what}")]
    Syntax { line: usize, what: String },
    #[error("the credentials of {0:?} are not base64 of NAME:PASSWORD")]
    Entry(String),
    #[error("{0}")]
    Certificate(String),
}

/// Why a credential helper gave no credentials. What it answered is never told: it may be them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HelperFault {
    #[error(
        "it has a name that no helper can have (letters, digits, \"-\", \"_\" and \".\", no path)"
    )]
    Name,
    #[error("there is no such program in {0} (install it there, or take its name out of the file)")]
    Missing(String),
    #[error("{} cannot be run", program.display())]
    Run { program: PathBuf, source: Arc<std::io::Error> },
    #[error(
        "{} had not answered after {} s, and was ended (by hand: printf %s SERVER | {} get)",
        program.display(), limit.as_secs(), program.display()
    )]
    Slow { program: PathBuf, limit: Duration },
    #[error("{} said more than {limit} bytes, and was ended", program.display())]
    TooMuch { program: PathBuf, limit: u64 },
    #[error("{} failed: {why} (by hand: printf %s SERVER | {} get)", program.display(), program.display())]
    Failed { program: PathBuf, why: String },
    #[error(
        "{} answered something else than JSON with Username and Secret (by hand: printf %s SERVER | {} get)",
        program.display(), program.display()
    )]
    Answer { program: PathBuf },
    #[error("it has none (log in again, or take its name out of the file)")]
    NotFound,
}

/// Where credentials are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file that holds them, or names the helper.
    pub file: PathBuf,
    /// The program that gave them.
    pub helper: Option<String>,
}

/// What is wrong with what the registry sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentFault {
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: u64 },
    #[error("the {what} ended after {got} of {expected} bytes")]
    Truncated { what: &'static str, got: u64, expected: u64 },
    #[error("the manifest has the digest {got} where {expected} was asked for")]
    Mismatch { expected: Digest, got: Digest },
    #[error("the {what} is not what the specification says: {why}")]
    Malformed { what: &'static str, why: String },
    #[error("the manifest is of the media type {0:?}, which is not supported")]
    MediaType(String),
    #[error("the image is not offered for {wanted} (offered: {offered})")]
    NoPlatform { wanted: Platform, offered: String },
    #[error("the redirection to {0} is not followed")]
    Redirection(String),
}

struct Detail<'a>(&'a Option<String>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

struct Through<'a>(&'a Option<Via>);

impl fmt::Display for Through<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(via) => write!(f, " through {via}"),
            None => Ok(()),
        }
    }
}

struct Whence<'a>(&'a Option<Origin>);

impl fmt::Display for Whence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(origin) => write!(f, " (they are from {origin})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.helper {
            Some(helper) => write!(f, "docker-credential-{helper}, which {file} names"),
            None => write!(f, "{file}"),
        }
    }
}

impl Error {
    pub(super) fn new(image: impl fmt::Display, problem: Problem) -> Self {
        Self { image: Some(image.to_string()), problem: Box::new(problem) }
    }

    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The kind of failure, which decides about the next attempt.
    pub fn kind(&self) -> FailureKind {
        self.problem.kind()
    }
}

impl Problem {
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::RegistriesConf { .. }
            | Self::Certificates { .. }
            | Self::Blocked { .. }
            | Self::InvalidLocation { .. }
            | Self::InsecureRealm { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::Authorities { .. } => FailureKind::Configuration,
            Self::Credentials { .. } | Self::Helper { .. } | Self::Unauthorized { .. } => {
                FailureKind::Unauthorized
            }
            Self::Unreachable { .. }
            | Self::ProxyLogin { .. }
            | Self::BrokenOff { .. }
            | Self::TooSlow { .. } => FailureKind::Unreachable,
            Self::Status { status, retry_after, .. } => match status.as_u16() {
                401 | 403 => FailureKind::Unauthorized,
                404 | 410 => FailureKind::NotFound,
                429 => FailureKind::RateLimited(*retry_after),
                // Overloaded, and it says for how long.
                503 if retry_after.is_some() => FailureKind::RateLimited(*retry_after),
                500.. => FailureKind::ServerError,
                _ => FailureKind::InvalidContent,
            },
            Self::AfterMirrors { source, .. } => source.kind(),
            Self::Content { .. } => FailureKind::InvalidContent,
        }
    }

    /// Whether whatever else is asked may fail just so.
    pub(super) fn is_of_all(&self) -> bool {
        matches!(self.kind(), FailureKind::Unreachable | FailureKind::RateLimited(_))
    }

    /// Whether no connection came about, which is no fault of what was asked. (No answer in time
    /// may be.)
    pub(super) fn is_of_the_host(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.is_connect(),
            Self::ProxyLogin { .. } => true,
            _ => false,
        }
    }

    pub(super) fn unreachable(peer: &str, via: Option<Via>, cause: reqwest::Error) -> Self {
        let source = Arc::new(cause.without_url());
        Self::Unreachable { peer: peer.to_owned(), via, source }
    }

    pub(super) fn malformed(peer: &str, what: &'static str, why: impl fmt::Display) -> Self {
        let why = excerpt(&why.to_string());
        Self::Content { peer: peer.to_owned(), fault: ContentFault::Malformed { what, why } }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self { image: None, problem: Box::new(problem) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.image {
            Some(image) => write!(f, "{image}: {}", self.problem),
            None => write!(f, "{}", self.problem),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.problem)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from_error(error.kind(), &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Problem {
        Problem::Status {
            peer: "quay.io".into(),
            request: "HEAD of the manifest",
            status: reqwest::StatusCode::from_u16(code).unwrap(),
            detail: Some("manifest unknown".into()),
            retry_after: Some(Duration::from_secs(7)),
        }
    }

    #[test]
    fn names_image_registry_and_status() {
        let error = Error::new("quay.io/app:1", status(404));
        assert_eq!(
            error.to_string(),
            "quay.io/app:1: quay.io answered HEAD of the manifest with 404 Not Found (manifest unknown)"
        );
        assert_eq!(Failure::from(error).kind, FailureKind::NotFound);
    }

    #[test]
    fn kinds_follow_the_status() {
        for (code, kind) in [
            (401, FailureKind::Unauthorized),
            (403, FailureKind::Unauthorized),
            (404, FailureKind::NotFound),
            (429, FailureKind::RateLimited(Some(Duration::from_secs(7)))),
            (500, FailureKind::ServerError),
            (502, FailureKind::ServerError),
            (503, FailureKind::RateLimited(Some(Duration::from_secs(7)))),
            (418, FailureKind::InvalidContent),
        ] {
            assert_eq!(status(code).kind(), kind);
        }
    }
}
