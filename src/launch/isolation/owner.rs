//! `--pid`, `--ipc`, `--uts`, `--cgroupns` (podman-run(1)): whose namespaces a container has. Joining
//! one holds it open, so that nobody else's process can take its place.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use serde::{Deserialize, Serialize};

use crate::launch::isolation::namespaces::Namespace;

/// Whose namespace of one kind a container has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Owner {
    /// Its own.
    Private,
    /// The launcher's.
    Host,
    /// That of another container, by its name or ID.
    Container(String),
    /// The one at this path: `/proc/PID/ns/…`, or where one is mounted.
    Path(PathBuf),
}

/// The same for what programs share memory and messages by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Ipc {
    /// Its own, which other containers may join: what a container has without the flag.
    Shareable,
    /// Its own alone, without `/dev/shm`.
    None,
    Of(Owner),
}

/// A word that names no namespace.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is none of {words}")]
pub(crate) struct InvalidOwner {
    given: String,
    words: &'static str,
}

/// Why a namespace cannot be joined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--{flag}: no namespace can be had from {path}")]
    Open {
        flag: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--{flag}: {path} is not a namespace of that kind")]
    Kind { flag: &'static str, path: PathBuf },
}

impl FromStr for Owner {
    type Err = InvalidOwner;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = "host, private, container:NAME and ns:PATH";
        let invalid = || InvalidOwner { given: text.chars().take(80).collect(), words };
        match text.split_once(':') {
            None if text.is_empty() || text == "private" => Ok(Self::Private),
            None if text == "host" => Ok(Self::Host),
            Some(("container", name)) if !name.is_empty() => Ok(Self::Container(name.to_owned())),
            Some(("ns", path)) if path.starts_with('/') => Ok(Self::Path(path.into())),
            _ => Err(invalid()),
        }
    }
}

impl FromStr for Ipc {
    type Err = InvalidOwner;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = "host, none, private, shareable, container:NAME and ns:PATH";
        match text {
            "" | "shareable" => Ok(Self::Shareable),
            "none" => Ok(Self::None),
            other => other.parse().map(Self::Of).map_err(|error| InvalidOwner { words, ..error }),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Host => f.write_str("host"),
            Self::Container(name) => write!(f, "container:{name}"),
            Self::Path(path) => write!(f, "ns:{}", path.display()),
        }
    }
}

impl fmt::Display for Ipc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shareable => f.write_str("shareable"),
            Self::None => f.write_str("none"),
            Self::Of(owner) => owner.fmt(f),
        }
    }
}

macro_rules! as_text {
    ($($name:ident),*) => { $(
        impl TryFrom<String> for $name {
            type Error = InvalidOwner;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )* };
}
as_text!(Owner, Ipc);

impl Ipc {
    /// Whose it is, whatever else it means.
    pub(crate) fn owner(&self) -> &Owner {
        match self {
            Self::Of(owner) => owner,
            Self::Shareable | Self::None => &Owner::Private,
        }
    }
}

/// A kind of namespace: its flag, its name below `/proc/PID/ns`, and its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) flag: &'static str,
    pub(crate) name: &'static str,
    number: libc::c_int,
}

pub(crate) const PID: Kind = Kind { flag: "pid", name: "pid", number: libc::CLONE_NEWPID };
pub(crate) const IPC: Kind = Kind { flag: "ipc", name: "ipc", number: libc::CLONE_NEWIPC };
pub(crate) const UTS: Kind = Kind { flag: "uts", name: "uts", number: libc::CLONE_NEWUTS };
pub(crate) const CGROUP: Kind =
    Kind { flag: "cgroupns", name: "cgroup", number: libc::CLONE_NEWCGROUP };
pub(crate) const MOUNT: Kind = Kind { flag: "ipc", name: "mnt", number: libc::CLONE_NEWNS };

/// `NS_GET_NSTYPE` (ioctl_ns(2)).
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// The namespace at a path, where it is one of that kind.
pub(crate) fn open(kind: Kind, path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Open { flag: kind.flag, path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // SAFETY: this request only answers; on what is no namespace it fails.
    let number = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    match number == kind.number {
        true => Ok(file),
        false => Err(Error::Kind { flag: kind.flag, path: path.to_owned() }),
    }
}

/// What the processes that join it know an open namespace by: they inherit the descriptor.
pub(crate) fn held(file: &File) -> Namespace {
    Namespace::At(format!("/proc/self/fd/{}", file.as_raw_fd()).into())
}

/// The name that a host has in a UTS namespace, to one who is in it for as long as that takes.
pub(crate) fn host_name(uts: &File) -> io::Result<String> {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            // A thread of its own: only it changes its namespace, and it ends here.
            let kind = LinkNameSpaceType::HostNameAndNISDomainName;
            move_into_link_name_space(uts.as_fd(), Some(kind))?;
            Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
        });
        asked.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })
}

/// What a container has at `/dev/shm`, by its mount namespace; to be mounted elsewhere.
pub(crate) fn shared_memory(mounts: &File) -> io::Result<OwnedFd> {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            // A thread of its own, with a root and a directory of its own: it ends here.
            // SAFETY: no descriptor and no memory is shared or unshared.
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let (mode, root) = (Mode::empty(), rustix::fs::CWD);
            let there = openat2(root, "/dev/shm", flags, mode, ResolveFlags::NO_SYMLINKS)?;
            let clone = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            Ok(open_tree(&there, "", clone)?)
        });
        asked.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn owners_are_podmans() {
        for (text, expected) in [
            ("", Owner::Private),
            ("private", Owner::Private),
            ("host", Owner::Host),
            ("container:web", Owner::Container("web".into())),
            ("ns:/proc/1/ns/pid", Owner::Path("/proc/1/ns/pid".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["container:", "ns:", "ns:relative", "hosts", "shareable", "pod"] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
        assert_eq!("shareable".parse(), Ok(Ipc::Shareable));
        assert_eq!("none".parse(), Ok(Ipc::None));
        assert_eq!("host".parse(), Ok(Ipc::Of(Owner::Host)));
        assert!("nope".parse::<Ipc>().unwrap_err().to_string().contains("shareable"));
    }

    #[test]
    fn they_are_kept_as_they_were_written() {
        for text in ["\"none\"", "\"container:a:b\"", "\"ns:/x\"", "\"host\""] {
            let ipc: Ipc = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&ipc).unwrap(), text);
        }
        assert!(serde_json::from_str::<Owner>("\"nope\"").is_err());
    }

    #[test]
    fn only_a_namespace_of_the_kind_is_joined() {
        let open = |path: &str| open(UTS, Path::new(path));
        assert!(open("/proc/self/ns/uts").is_ok());
        assert!(matches!(open("/proc/self/ns/ipc"), Err(Error::Kind { .. })));
        assert!(matches!(open("/dev/null"), Err(Error::Kind { .. })));
        assert!(matches!(open("/proc/self/ns/none"), Err(Error::Open { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Owner>();
            let _ = text.parse::<Ipc>();
        }
    }
}
