//! What can go wrong before and around a container, and the exit status of each.

use std::io;
use std::path::PathBuf;

use crate::model::reference::InvalidReference;
use crate::{config, store};

use crate::launch::isolation;
use crate::launch::isolation::cgroup;
use crate::launch::process::{environment, time_zone, user};
use crate::launch::storage::flags::device::InvalidDevice;
use crate::launch::storage::flags::secret::InvalidSecret;
use crate::launch::storage::{devices, propagation, secrets, stage, volume, volumes};

/// A launch that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    UserNamespace(#[from] crate::launch::userns::Error),
    #[error(transparent)]
    Configuration(#[from] config::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    #[error(transparent)]
    OciRuntime(#[from] crate::launch::runtime::ExternalError),
    #[error(transparent)]
    Scope(#[from] isolation::scope::Error),
    #[error(transparent)]
    NoInit(#[from] crate::launch::process::init::NoInit),
    #[error(transparent)]
    Network(#[from] crate::launch::network::Error),
    #[error(transparent)]
    Volume(#[from] volume::InvalidVolume),
    #[error(transparent)]
    Health(#[from] crate::launch::health::plan::InvalidHealth),
    #[error(
        "--sdnotify=healthy needs a health check, and neither --health-cmd nor the image has one"
    )]
    NothingHealthy,
    #[error("container \"{0}\" has no health check")]
    NoHealthCheck(String),
    #[error(transparent)]
    Volumes(#[from] volumes::Error),
    #[error(transparent)]
    Stage(#[from] stage::Error),
    #[error(transparent)]
    Secret(#[from] secrets::Error),
    #[error(transparent)]
    InvalidSecret(#[from] InvalidSecret),
    #[error(transparent)]
    Device(#[from] devices::Error),
    #[error(transparent)]
    InvalidDevice(#[from] InvalidDevice),
    #[error(transparent)]
    Propagation(#[from] propagation::Error),
    #[error("{flag} {text:?} is no size, such as 64m")]
    Size { flag: &'static str, text: String },
    #[error("--volumes-from {0:?} is not CONTAINER[:ro|rw|z]")]
    VolumesFrom(String),
    #[error(transparent)]
    User(#[from] user::InvalidUser),
    #[error(transparent)]
    Capability(#[from] isolation::capability::InvalidCapability),
    #[error(transparent)]
    Pod(#[from] super::pod::Error),
    #[error("--env")]
    Variable(#[source] environment::InvalidVariable),
    #[error("{path}:{line}", path = path.display())]
    EnvFile { path: PathBuf, line: usize, source: environment::InvalidVariable },
    #[error("{0:?} is not a label: the key is missing")]
    Label(String),
    #[error("\"{0}\" is no verb of containers: see updater-launch container --help")]
    NoSuchVerb(String),
    #[error("--annotation {0:?}: expected KEY=VALUE")]
    Annotation(String),
    #[error("{0:?} is not a signal, such as SIGTERM or 15")]
    Signal(String),
    #[error("the name \"{name}\" is in use by {what} {id}: remove that, or use --replace")]
    NameInUse { name: String, what: &'static str, id: String },
    #[error("no container \"{0}\": see \"updater-launch ps --all\"")]
    NoSuchContainer(String),
    #[error("\"{0}\" is the beginning of several container IDs")]
    Ambiguous(String),
    #[error("container \"{0}\" is not running")]
    NotRunning(String),
    #[error(transparent)]
    LogOption(#[from] crate::launch::logs::options::InvalidLogOption),
    #[error("--follow takes one container where output goes to files")]
    FollowOne,
    #[error(
        "container \"{0}\" has no cgroup of its own to freeze: give its unit Delegate=yes, or leave --cgroups=disabled out"
    )]
    NoOwnCgroup(String),
    #[error("container \"{0}\" is paused already")]
    Paused(String),
    #[error("container \"{0}\" is not paused")]
    NotPaused(String),
    #[error("the supervisor of container \"{name}\" does not answer")]
    Unreachable { name: String, source: io::Error },
    #[error(
        "container \"{0}\" was stopped, and could not be started again: see its unit's journal"
    )]
    NotRestarted(String),
    #[error(
        "nobody can be attached to container \"{name}\": with --log-driver={driver} its output does \
         not pass its supervisor"
    )]
    NoOutput { name: String, driver: String },
    #[error("--log-driver=passthrough hands our own streams over: it cannot be had with --tty")]
    PassthroughTerminal,
    #[error("the connection to the supervisor is lost: it was killed, or our output was not taken")]
    Lost { source: io::Error },
    #[error("{}", no_logs(.name, .driver))]
    NoLogs { name: String, driver: String },
    #[error("container \"{0}\" is running: stop it, or use --force")]
    Running(String),
    #[error("container \"{0}\" still runs after SIGKILL: something holds it in the kernel")]
    StillRunning(String),
    #[error("no image {0} in local storage, and --pull=never")]
    NoImage(String),
    #[error("image {image} could not be pulled")]
    Pull { image: String },
    /// What a supervisor in the background said.
    #[error("{said}")]
    Background { status: u8, said: String },
    #[error("--rm and --restart exclude each other: what is removed cannot be started again")]
    RemoveOrRestart,
    #[error("the image has no command: name one behind the image")]
    NoCommand,
    #[error("--entrypoint {0:?} is not a JSON list of words")]
    Entrypoint(String),
    #[error("the working directory {0:?} is not a path from the root")]
    Workdir(String),
    #[error(
        "with MKNOD or SYS_ADMIN, or with permissions for a device, a container needs a cgroup of its \
         own, or it could open devices that it must not: leave --cgroups=disabled out"
    )]
    Devices,
    #[error(
        "systemd in a container makes cgroups below its own: leave --cgroups=disabled out, or say \
         --systemd=false"
    )]
    SystemdCgroup,
    #[error("the working directory {directory:?} {why} in the container")]
    NoDirectory { directory: String, why: &'static str },
    #[error("command {command:?} was not found in the container")]
    CommandNotFound { command: String },
    #[error(
        "command {command:?} is in the container, but not the interpreter (\"#!\") or the loader \
         that it names"
    )]
    InterpreterNotFound { command: String },
    #[error("command {command:?} cannot be executed in the container: {why}")]
    CommandNotExecutable { command: String, why: String },
    #[error(transparent)]
    Template(#[from] crate::terminal::template::InvalidTemplate),
    #[error(transparent)]
    Filter(#[from] crate::launch::view::filter::InvalidFilter),
    #[error("\"{0}\" is the beginning of several image IDs")]
    AmbiguousImage(String),
    #[error("\"{0}\" is the end of several images' names: name one in full")]
    AmbiguousName(String),
    #[error(transparent)]
    ShortName(#[from] crate::registry::short_names::Unresolved),
    #[error("nothing that {name:?} may stand for could be pulled: {failures}")]
    NoCandidate { name: String, failures: String },
    #[error("{0}: no such image in local storage: see \"updater-launch images\"")]
    NoSuchImage(String),
    #[error("image {image} is in use by {by}")]
    ImageInUse { image: String, by: String },
    #[error("image {image} has several names ({names}): name one, or use --force")]
    SeveralNames { image: String, names: String },
    #[error("{name} is no name of image {image}")]
    NotItsName { image: String, name: String },
    #[error("--platform {0:?} is not OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64/v8")]
    Platform(String),
    #[error("--all-tags is not there: name each tag that is wanted")]
    AllTags,
    #[error("a pull is under way: try again when it has ended")]
    PullUnderWay,
    #[error(transparent)]
    AuthFile(#[from] crate::registry::login::Fault),
    #[error(transparent)]
    Login(#[from] crate::launch::command::login::Refused),
    #[error(
        "\"{0}\" is nothing to show of a process; there are {known}",
        known = crate::launch::measure::processes::DESCRIPTORS
    )]
    Descriptor(String),
    #[error(transparent)]
    Copy(#[from] crate::launch::copy::Fault),
    #[error("one side must be CONTAINER:PATH")]
    NoContainerSide,
    #[error("--overwrite is not there: remove what is in the way first")]
    Overwrite,
    #[error(transparent)]
    Archive(#[from] crate::launch::archive::Fault),
    #[error("standard input is a terminal: name an archive by --input")]
    LoadFromTerminal,
    #[error("there is no container yet")]
    NoContainerYet,
    #[error("nothing is named \"{0}\", neither a container nor an image")]
    NothingNamed(String),
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    #[error(
        "container {0} has no definition: it was made by another version; remove it and run it anew"
    )]
    NoDefinition(String),
    #[error(
        "--preserve-fds {count}: descriptor {descriptor} is not open: open all of them, from 3 on"
    )]
    NoDescriptor { descriptor: i32, count: u16 },
    #[error("--attach takes one container")]
    AttachToOne,
    #[error(
        "{path} is damaged, or was written by another version: remove what it describes, and make it \
         anew",
        path = path.display()
    )]
    Document { path: PathBuf, source: serde_json::Error },
    #[error("a file of the container is damaged")]
    Json(#[source] serde_json::Error),
    #[error("cannot {what} {path}", path = path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {what}")]
    System { what: &'static str, source: io::Error },
    #[error("ended by signal {signal} before the container ran")]
    Interrupted { signal: i32 },
    #[error("ended by signal {signal}")]
    Ended { signal: i32 },
    #[error(transparent)]
    Isolation(#[from] isolation::Error),
    #[error(transparent)]
    TimeZone(#[from] time_zone::InvalidZone),
    #[error("the container cannot be described: {0}")]
    Spec(String),
    #[error("the container could not be {stage}{}", .said.as_deref().map(|said| format!(" ({said})")).unwrap_or_default())]
    Runtime {
        stage: &'static str,
        /// The cause in the runtime's words, which its errors do not carry.
        said: Option<String>,
        source: Box<libcontainer::error::LibcontainerError>,
    },
}

fn no_logs(name: &str, driver: &str) -> String {
    let went = match driver {
        "none" => "was thrown away",
        "passthrough" => "went to its launcher's own streams as they are",
        _ => "went to its launcher's own output",
    };
    format!(
        "the output of container \"{name}\" is not in the journal: it {went}; \
         run it with --log-driver=journald or k8s-file"
    )
}

impl Error {
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { what, path: path.into(), source }
    }

    pub(crate) fn system(what: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System { what, source: source.into() }
    }

    /// The exit status by Podman's rules (podman-run(1), "EXIT STATUS").
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::CommandNotFound { .. } | Self::InterpreterNotFound { .. } => 127,
            Self::CommandNotExecutable { .. }
            | Self::NoDirectory { .. }
            | Self::User(user::InvalidUser::NoUser(_) | user::InvalidUser::NoGroup(_)) => 126,
            Self::Background { status, .. } => *status,
            Self::Interrupted { signal } | Self::Ended { signal } => {
                u8::try_from(signal + 128).unwrap_or(u8::MAX)
            }
            _ => 125,
        }
    }

    /// The signal that asked this process to end.
    pub(crate) fn signal(&self) -> Option<i32> {
        match self {
            Self::Interrupted { signal } | Self::Ended { signal } => Some(*signal),
            _ => None,
        }
    }
}
