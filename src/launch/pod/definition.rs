//! What a pod is made from. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::launch::args::{NetworkFlags, UserNamespaceFlags};
use crate::launch::pod::Error;
use crate::model::ContainerId;
use crate::store::containers::Allotted;

/// A pod, as it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pod {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    /// The ID that stands for the pod's own process where a container's is asked for.
    pub(crate) infra_id: ContainerId,
    pub(crate) infra_name: String,
    pub(crate) created: Timestamp,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) share: Share,
    pub(crate) network: NetworkFlags,
    /// The user namespace of its containers.
    #[serde(default)]
    pub(crate) users: UserNamespaceFlags,
    /// The IDs that only its containers have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allotted: Option<Allotted>,
    pub(crate) exit_policy: ExitPolicy,
    /// Where the supervisor writes its process ID (`--infra-conmon-pidfile`).
    pub(crate) pidfile: Option<PathBuf>,
    /// Where the ID was written (`--pod-id-file`).
    pub(crate) id_file: Option<PathBuf>,
    /// The command line it was made with, from the verb on.
    pub(crate) arguments: Vec<String>,
}

/// What happens when the last of a pod's containers has ended (podman-pod-create(1),
/// `--exit-policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExitPolicy {
    /// The pod goes on.
    Continue,
    /// The pod ends, too.
    Stop,
}

/// A namespace that a pod's containers can share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Namespace {
    Ipc,
    Net,
    Pid,
    Uts,
}

impl Namespace {
    /// Its name below `/proc/PID/ns` (namespaces(7)).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Uts => "uts",
        }
    }
}

/// What a pod's containers share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share(BTreeSet<Namespace>);

impl Share {
    pub(crate) fn has(&self, namespace: Namespace) -> bool {
        self.0.contains(&namespace)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Namespace> {
        self.0.iter().copied()
    }
}

impl Default for Share {
    /// As Podman's.
    fn default() -> Self {
        Self([Namespace::Ipc, Namespace::Net, Namespace::Uts].into())
    }
}

impl FromStr for Share {
    type Err = Error;

    /// A list such as `net,ipc`; one that begins with `+` adds to the default. `none`, or nothing,
    /// is nothing.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (mut shared, list) = match text.strip_prefix('+') {
            Some(more) => (Self::default().0, more),
            None => (BTreeSet::new(), text),
        };
        for word in list.split(',').filter(|word| !word.is_empty() && *word != "none") {
            shared.insert(match word {
                "ipc" => Namespace::Ipc,
                "net" => Namespace::Net,
                "pid" => Namespace::Pid,
                "uts" => Namespace::Uts,
                _ => return Err(Error::Share(word.chars().take(60).collect())),
            });
        }
        Ok(Self(shared))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Namespace::name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared() {
        let read = |text: &str| text.parse::<Share>().map(|share| share.to_string());
        assert_eq!(Share::default().to_string(), "ipc,net,uts");
        assert_eq!(read("net").unwrap(), "net");
        assert_eq!(read("uts,net,ipc").unwrap(), "ipc,net,uts");
        assert_eq!(read("+pid").unwrap(), "ipc,net,pid,uts");
        assert_eq!(read("none").unwrap(), "");
        assert_eq!(read("").unwrap(), "");
        assert!(read("net,cgroup").unwrap_err().to_string().contains("\"cgroup\""));
    }
}
