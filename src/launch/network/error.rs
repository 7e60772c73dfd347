//! What can go wrong with a container's network.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::launch::network::expose::InvalidExpose;
use crate::launch::network::join::Incompatible;
use crate::launch::network::mode::InvalidNetwork;
use crate::launch::network::names::InvalidName;
use crate::launch::network::options::InvalidOption;
use crate::launch::network::publish::{InvalidPublish, Publish};
use crate::launch::network::subnet::InvalidSubnet;

/// A network that could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Mode(#[from] InvalidNetwork),
    #[error(transparent)]
    Publish(#[from] InvalidPublish),
    #[error(transparent)]
    Expose(#[from] InvalidExpose),
    #[error(transparent)]
    Subnet(#[from] InvalidSubnet),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Option(#[from] InvalidOption),
    #[error(transparent)]
    Incompatible(#[from] Incompatible),
    #[error("no network \"{0}\": see \"updater-launch network ls\"")]
    NoSuchNetwork(String),
    #[error("\"{0}\" is the beginning of several network IDs")]
    Ambiguous(String),
    #[error("network \"{0}\" is there already")]
    NetworkExists(String),
    #[error("\"{0}\" cannot be the name of a network: it has another meaning, or is too long")]
    NetworkName(String),
    #[error("network \"{name}\" is in use by {users}: remove those, or use --force")]
    NetworkInUse { name: String, users: String },
    #[error("network \"{0}\" is the default, and cannot be removed")]
    Default(&'static str),
    #[error("port {port} of container \"{container}\" is not published")]
    NotPublished { port: String, container: String },
    #[error("networks that are bridges are root's: a user's containers have pasta, host or none")]
    NotRoot,
    #[error("--network=pasta is for ordinary users: root has bridges")]
    Root,
    #[error("--publish: pasta publishes tcp and udp only")]
    Sctp,
    #[error("interface {0} is on this host already: choose another --interface-name")]
    InterfaceTaken(String),
    #[error("the kernel gives no random numbers")]
    Random,
    #[error("{program} is not installed, which {what}: install the package {package}")]
    Missing { program: &'static str, package: &'static str, what: &'static str },
    #[error("{program} failed to {what}: {said}")]
    Program { program: &'static str, what: &'static str, said: String },
    #[error("{program} did not {what} within {} seconds, and was killed", .limit.as_secs())]
    Slow { program: &'static str, what: &'static str, limit: Duration },
    #[error("port {port} of the host cannot be published as {publish}: {source}")]
    Port { port: u16, publish: Publish, source: io::Error },
    #[error("no port of the host is free for {0}")]
    NoPort(Publish),
    #[error("container \"{0}\", whose network is to be shared, does not run")]
    SharedNotRunning(String),
    #[error("{} is no network namespace", .0.display())]
    NoNamespace(PathBuf),
    #[error("{path} cannot be understood", path = path.display())]
    Document { path: PathBuf, source: serde_json::Error },
    #[error("cannot {what} {path}", path = path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {what}")]
    System { what: &'static str, source: io::Error },
}

impl Error {
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { what, path: path.into(), source }
    }

    pub(crate) fn system(what: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System { what, source: source.into() }
    }
}
