//! The port to OCI runtimes: libcontainer in this process, or an installed one. Whoever starts a
//! container, or a program in one, does not know which.

mod account;
mod apart;
mod bond;
mod console;
mod embedded;
mod external;
pub(crate) mod member;
mod program;

pub(crate) use bond::Bond;
pub(crate) use external::Error as ExternalError;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Uid;
use rustix::io::Errno;

use crate::launch::Error;
use crate::launch::isolation::capability::Capabilities;
use crate::launch::isolation::seccomp::{self, Filter};
use crate::launch::isolation::{self, oom};
use crate::launch::runtime::external::External;
use crate::launch::runtime::member::Member;
use crate::launch::storage::propagation::Share;
use crate::launch::storage::secrets::Variables;
use crate::model::ContainerId;

/// The name of the runtime that is part of this program.
pub(crate) const EMBEDDED: &str = "libcontainer";
const EMBEDDED_VERSION: &str = "0.7.0";

/// Which runtime runs a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// libcontainer, in this process.
    Embedded,
    /// A program of this host.
    External(External),
}

/// A container, as its runtime knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Container<'a> {
    pub(crate) id: &'a ContainerId,
    /// Where the runtime has its own records.
    pub(crate) state: &'a Path,
    /// Where its specification is.
    pub(crate) bundle: &'a Path,
    /// Its cgroup, in the file system; it is there.
    pub(crate) cgroup: &'a Path,
}

/// A program that is to be started in a container that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Its specification, in a file.
    pub(crate) description: &'a Path,
    /// The container's first process.
    pub(crate) init: i32,
    pub(crate) terminal: bool,
    /// How many descriptors of ours it has, from 3 on.
    pub(crate) descriptors: i32,
}

/// What is done to a container that is there, before its program is: by its first process.
pub(crate) type Ready<'a> = &'a mut dyn FnMut(i32) -> Result<(), Error>;

impl Runtime {
    /// The one of this name or, where a path, at this place; without a name, the one in this
    /// process.
    pub(crate) fn named(name: Option<&str>) -> Result<Self, Error> {
        match name {
            None | Some(EMBEDDED) => Ok(Self::Embedded),
            Some(name) => Ok(Self::External(External::find(name)?)),
        }
    }

    /// All that this host has, the one that is taken without a name first.
    pub(crate) fn all() -> Vec<Self> {
        std::iter::once(Self::Embedded)
            .chain(External::installed().into_iter().map(Self::External))
            .collect()
    }

    /// As it was asked for.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Embedded => EMBEDDED,
            Self::External(external) => external.name(),
        }
    }

    /// The program, where it is one of its own.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Embedded => None,
            Self::External(external) => Some(external.path()),
        }
    }

    /// What it says of itself.
    pub(crate) fn version(&self) -> String {
        match self {
            Self::Embedded => EMBEDDED_VERSION.to_owned(),
            Self::External(external) => external.version(),
        }
    }

    /// Whether it does all that a specification says, so that nothing is left to us in the
    /// container's first process: the filter of system calls, users of another user namespace.
    pub(crate) fn does_all(&self) -> bool {
        matches!(self, Self::External(_))
    }

    /// The capabilities that the first process needs for what is left to us there.
    pub(crate) fn borrows(&self) -> &'static [&'static str] {
        if self.does_all() { &[] } else { &seccomp::TO_LOAD }
    }

    /// Starts the container; returns its first process once the program runs. Without one its
    /// standard input is empty: ours is somebody else's.
    pub(crate) fn start(
        &self,
        container: Container<'_>,
        process: &Prepared,
        streams: Streams,
        ready: Ready<'_>,
    ) -> Result<Started, Error> {
        match self {
            Self::Embedded => embedded::start(container, process, streams, ready),
            Self::External(external) => external.start(container, process, streams, ready),
        }
    }

    /// Starts another program in a running container, with this process's own streams.
    pub(crate) fn exec(
        &self,
        container: Container<'_>,
        entry: Entry<'_>,
        process: &Prepared,
    ) -> Result<Started, Error> {
        match self {
            Self::Embedded => embedded::exec(container, entry, process),
            Self::External(external) => external.exec(container, entry, process),
        }
    }
}

/// What is known of a program before it is started, but for its specification.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) uid: u32,
    pub(crate) directory: String,
    pub(crate) capabilities: Capabilities,
    /// Given to the program in memory only.
    pub(crate) variables: Variables,
    /// Whether its /dev is read-only.
    pub(crate) frozen: bool,
    /// Mounts that are shared with the host.
    pub(crate) shares: Vec<Share>,
    /// The filter of system calls.
    pub(crate) filter: Option<Filter>,
    /// Whether it keeps this process's groups.
    pub(crate) keep_groups: bool,
    pub(crate) oom_score: Option<i32>,
    /// Whom the program becomes in a user namespace that the runtime does not enter.
    pub(crate) member: Option<Arc<Member>>,
    /// Whether it sees nothing of the host's cgroups, and none of the mounts there.
    pub(crate) covered: bool,
    /// Files that its specification names by their descriptors.
    pub(crate) _held: Vec<File>,
}

impl Prepared {
    /// The caller's supplementary groups are not the container's; libcontainer leaves them where
    /// the container's user has none. Nothing that this process does later needs them.
    fn drop_groups(&self) -> Result<(), Error> {
        if self.keep_groups || nix::unistd::getgroups().is_ok_and(|groups| groups.is_empty()) {
            return Ok(());
        }
        match nix::unistd::setgroups(&[]) {
            // Of a user namespace with one user only, nobody can leave a group: user_namespaces(7).
            Err(nix::Error::EPERM) if is_denied() => Ok(()),
            left => left.map_err(|error| Error::system("leave our groups", error)),
        }
    }

    /// The runtime gives the score to this process, for its children: it is ours again afterwards.
    fn take_oom_score(&self) -> Result<Option<oom::Own>, Error> {
        let Some(score) = self.oom_score else { return Ok(None) };
        oom::change(score).map(Some).map_err(|source| match source.kind() {
            std::io::ErrorKind::PermissionDenied => isolation::Error::OomScore(score).into(),
            _ => Error::system("set --oom-score-adj", source),
        })
    }
}

/// What the program's standard output and error are; `None` is our own.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) output: Option<OwnedFd>,
    pub(crate) error: Option<OwnedFd>,
    /// Its standard input; `None` is none, for a container.
    pub(crate) input: Option<OwnedFd>,
    /// It has a terminal instead.
    pub(crate) terminal: bool,
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: i32,
    /// The other end of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
    /// What ends it with this process, where it does not do so itself.
    pub(crate) bond: Option<Bond>,
}

/// The magic number of pipefs, where the pipes without a name are (`linux/magic.h`).
const PIPEFS: rustix::fs::FsWord = 0x5049_5045;

impl Streams {
    /// Makes `uid` the owner of those that are pipes: a program that is not root could not open
    /// `/dev/stdout` otherwise.
    fn hand_over(&self, uid: u32) -> Result<(), Error> {
        if let Some(input) = &self.input {
            hand_over(input.as_fd(), uid)?;
        }
        let (output, error) = (std::io::stdout(), std::io::stderr());
        hand_over(self.output.as_ref().map_or(output.as_fd(), AsFd::as_fd), uid)?;
        hand_over(self.error.as_ref().map_or(error.as_fd(), AsFd::as_fd), uid)
    }

    /// Those that may be files with a name: our own.
    fn named(&self) -> impl Iterator<Item = BorrowedFd<'static>> {
        let own = self.output.is_none().then(rustix::stdio::stdout);
        own.into_iter().chain(self.error.is_none().then(rustix::stdio::stderr))
    }
}

/// What has a name on the host stays as it is.
fn hand_over(stream: BorrowedFd<'_>, uid: u32) -> Result<(), Error> {
    if !rustix::fs::fstatfs(stream).is_ok_and(|system| system.f_type == PIPEFS) {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None) {
        // Somebody else's, whom the user namespace has not: it can be written to, not opened anew.
        Err(Errno::PERM) => Ok(()),
        changed => changed.map_err(|error| Error::system("hand over the standard streams", error)),
    }
}

fn is_denied() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}
