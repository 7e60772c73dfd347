//! Which namespaces a container has for itself, and which it shares (namespaces(7)). Pure.

use std::path::PathBuf;

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType};

/// One namespace of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// Its own.
    #[default]
    Own,
    /// The launcher's, which is the host's.
    Host,
    /// That of another process, by a path such as `/proc/PID/ns/net`.
    At(PathBuf),
}

impl Namespace {
    pub(crate) fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// The namespaces of a container; its mount namespace is always its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Namespaces {
    pub(crate) network: Namespace,
    pub(crate) ipc: Namespace,
    pub(crate) uts: Namespace,
    pub(crate) pid: Namespace,
    pub(crate) cgroup: Namespace,
}

impl Namespaces {
    pub(crate) fn to_spec(&self) -> Result<Vec<LinuxNamespace>, OciSpecError> {
        let all = [
            (LinuxNamespaceType::Mount, &Namespace::Own),
            (LinuxNamespaceType::Pid, &self.pid),
            (LinuxNamespaceType::Ipc, &self.ipc),
            (LinuxNamespaceType::Uts, &self.uts),
            (LinuxNamespaceType::Cgroup, &self.cgroup),
            (LinuxNamespaceType::Network, &self.network),
        ];
        let one = |(typ, namespace): (LinuxNamespaceType, &Namespace)| {
            let builder = LinuxNamespaceBuilder::default().typ(typ);
            match namespace {
                Namespace::Own => Some(builder.build()),
                Namespace::Host => None,
                Namespace::At(path) => Some(builder.path(path.clone()).build()),
            }
        };
        all.into_iter().filter_map(one).collect()
    }
}
