//! `--pid`, `--ipc`, `--uts`, `--cgroupns` (podman-run(1)): whose namespaces a container has. Joining
//! one holds it open, so that nobody else's process can take its place.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType};
use serde::{Deserialize, Serialize};

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

/// One namespace of a container that is to be started.
#[derive(Debug)]
pub(crate) enum Namespace {
    New,
    /// The launcher's.
    Host,
    /// Held open until the container has been started.
    Joined(File),
}

/// The namespaces of a container that its flags choose.
#[derive(Debug)]
pub(crate) struct Namespaces {
    pub(crate) pid: Namespace,
    pub(crate) ipc: Namespace,
    pub(crate) uts: Namespace,
    pub(crate) cgroup: Namespace,
}

/// A kind of namespace: its flag, its name below `/proc/PID/ns`, its number and its type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) flag: &'static str,
    pub(crate) name: &'static str,
    number: libc::c_int,
    typ: LinuxNamespaceType,
}

pub(crate) const PID: Kind =
    Kind { flag: "pid", name: "pid", number: libc::CLONE_NEWPID, typ: LinuxNamespaceType::Pid };
pub(crate) const IPC: Kind =
    Kind { flag: "ipc", name: "ipc", number: libc::CLONE_NEWIPC, typ: LinuxNamespaceType::Ipc };
pub(crate) const UTS: Kind =
    Kind { flag: "uts", name: "uts", number: libc::CLONE_NEWUTS, typ: LinuxNamespaceType::Uts };
pub(crate) const CGROUP: Kind = Kind {
    flag: "cgroupns",
    name: "cgroup",
    number: libc::CLONE_NEWCGROUP,
    typ: LinuxNamespaceType::Cgroup,
};

/// `NS_GET_NSTYPE` (ioctl_ns(2)).
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

impl Namespace {
    /// The namespace at a path, where it is one of that kind.
    pub(crate) fn open(kind: Kind, path: &Path) -> Result<Self, Error> {
        let file = File::open(path)
            .map_err(|source| Error::Open { flag: kind.flag, path: path.to_owned(), source })?;
        // SAFETY: this request only answers; on what is no namespace it fails.
        let number = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        match number == kind.number {
            true => Ok(Self::Joined(file)),
            false => Err(Error::Kind { flag: kind.flag, path: path.to_owned() }),
        }
    }

    pub(crate) fn is_host(&self) -> bool {
        matches!(self, Self::Host)
    }

    pub(crate) fn is_new(&self) -> bool {
        matches!(self, Self::New)
    }

    /// As the runtime is told of it; `None` of the launcher's own.
    fn to_spec(&self, kind: Kind) -> Result<Option<LinuxNamespace>, OciSpecError> {
        let builder = LinuxNamespaceBuilder::default().typ(kind.typ);
        match self {
            Self::Host => Ok(None),
            Self::New => builder.build().map(Some),
            // The processes that join it inherit the descriptor.
            Self::Joined(file) => {
                builder.path(format!("/proc/self/fd/{}", file.as_raw_fd())).build().map(Some)
            }
        }
    }
}

impl Namespaces {
    /// As the runtime is told of them.
    pub(crate) fn to_spec(&self) -> Result<Vec<LinuxNamespace>, OciSpecError> {
        let all = [(&self.pid, PID), (&self.ipc, IPC), (&self.uts, UTS), (&self.cgroup, CGROUP)];
        let all = all.into_iter().map(|(namespace, kind)| namespace.to_spec(kind));
        Ok(all.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

/// The name that a host has in a UTS namespace, to one who is in it for as long as that takes.
pub(crate) fn host_name(uts: &File) -> io::Result<String> {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            // A thread of its own: only it changes its namespace, and it ends here.
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(uts),
                Some(rustix::thread::LinkNameSpaceType::HostNameAndNISDomainName),
            )?;
            Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
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
        let open = |path: &str| Namespace::open(UTS, Path::new(path));
        assert!(matches!(open("/proc/self/ns/uts"), Ok(Namespace::Joined(_))));
        assert!(matches!(open("/proc/self/ns/ipc"), Err(Error::Kind { .. })));
        assert!(matches!(open("/dev/null"), Err(Error::Kind { .. })));
        assert!(matches!(open("/proc/self/ns/none"), Err(Error::Open { .. })));
    }

    #[test]
    fn the_runtime_hears_of_all_but_the_hosts() {
        let joined = Namespace::open(IPC, Path::new("/proc/self/ns/ipc")).unwrap();
        let namespaces = Namespaces {
            pid: Namespace::New,
            ipc: joined,
            uts: Namespace::Host,
            cgroup: Namespace::New,
        };
        let spec = namespaces.to_spec().unwrap();
        let with_path: Vec<_> = spec.iter().map(|one| (one.typ(), one.path().is_some())).collect();
        let expected = [
            (LinuxNamespaceType::Pid, false),
            (LinuxNamespaceType::Ipc, true),
            (LinuxNamespaceType::Cgroup, false),
        ];
        assert_eq!(with_path, expected);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Owner>();
            let _ = text.parse::<Ipc>();
        }
    }
}
