//! Records of network namespaces that were set up, each in a directory of its own below
//! `RUN/network/owners`: whose they are, with which addresses and ports, and what undoes them. An
//! address is in use as long as a record says so.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{self, Lock, Mode};
use crate::launch::network::error::Error;
use crate::launch::network::netavark::{Attached, Options, Status, key};
use crate::launch::network::networks::Network;
use crate::launch::network::publish::Publish;
use crate::model::ContainerId;
use crate::store::containers::Process;

/// The largest record read, in bytes.
const MAX: u64 = 1024 * 1024;

/// A network namespace of a container, or of whoever else has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) owner: ContainerId,
    /// As others on its networks find it.
    pub(crate) name: String,
    /// Who made it, and keeps it.
    pub(crate) holder: Process,
    /// A process in it that may outlive its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inhabitant: Option<Process>,
    pub(crate) ports: Vec<Publish>,
    /// Its networks, in the order in which they were asked for.
    pub(crate) networks: Vec<Member>,
    /// What netavark was told.
    pub(crate) options: Options,
    /// What came of it; empty as long as it is being set up.
    #[serde(default)]
    pub(crate) status: Status,
}

/// One of its networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) network: String,
    /// What the network is called in [`Options`] and [`Status`].
    pub(crate) key: String,
}

impl Member {
    pub(crate) fn of(network: &Network) -> Self {
        Self { network: network.name.clone(), key: key(network) }
    }
}

impl Attachment {
    /// Whether somebody still needs it.
    pub(crate) fn is_in_use(&self) -> bool {
        self.holder.is_alive() || self.inhabitant.is_some_and(|process| process.is_alive())
    }

    /// What it has on a network; `None` where it is not on it.
    pub(crate) fn on(&self, network: &Network) -> Option<&Attached> {
        self.status.get(&key(network))
    }

    /// Its addresses, those in the first network first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let known =
            self.networks.iter().filter_map(|member| self.options.networks.get(&member.key));
        known.flat_map(|network| network.static_ips.iter().copied())
    }
}

/// The records of one place.
#[derive(Debug, Clone)]
pub(crate) struct Attachments {
    dir: PathBuf,
}

impl Attachments {
    pub(crate) fn open(run: &Path) -> Self {
        Self { dir: run.join("network") }
    }

    /// Keeps others from changing networks and addresses, and from running netavark. Waits for it.
    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        self.make(&self.dir)?;
        let path = self.dir.join("lock");
        Lock::wait(&path, Mode::Exclusive).map_err(|source| Error::file("lock", path, source))
    }

    /// Where netavark keeps its own; made, if need be.
    pub(crate) fn netavark(&self) -> Result<PathBuf, Error> {
        let path = self.dir.join("netavark");
        self.make(&path)?;
        Ok(path)
    }

    /// Replaces the record as a whole. Only its holder writes.
    pub(crate) fn write(&self, attachment: &Attachment) -> Result<(), Error> {
        self.make(&self.directory(&attachment.owner))?;
        let path = self.file(&attachment.owner);
        let bytes = serde_json::to_vec(attachment)
            .map_err(|source| Error::Document { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|source| Error::file("write", path, source))
    }

    pub(crate) fn get(&self, owner: &ContainerId) -> Result<Option<Attachment>, Error> {
        let path = self.file(owner);
        let bytes = disk::read(&path, MAX).map_err(|source| Error::file("read", &path, source))?;
        let Some(bytes) = bytes else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Document { path, source })
    }

    /// All records, and what is wrong with those that cannot be read.
    pub(crate) fn all(&self) -> Result<(Vec<Attachment>, Vec<Error>), Error> {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        let owners = self.dir.join("owners");
        let entries = match std::fs::read_dir(&owners) {
            Err(error) if disk::is_absent(&error) => return Ok((found, problems)),
            entries => entries.map_err(|source| Error::file("list", owners, source))?,
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(owner) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            match self.get(&owner) {
                Ok(attachment) => found.extend(attachment),
                Err(problem) => problems.push(problem),
            }
        }
        Ok((found, problems))
    }

    pub(crate) fn remove(&self, owner: &ContainerId) -> Result<(), Error> {
        let path = self.directory(owner);
        disk::remove_tree(&path).map_err(|source| Error::file("remove", path, source))
    }

    fn directory(&self, owner: &ContainerId) -> PathBuf {
        self.dir.join("owners").join(owner.as_str())
    }

    fn file(&self, owner: &ContainerId) -> PathBuf {
        self.directory(owner).join("attachment.json")
    }

    fn make(&self, dir: &Path) -> Result<(), Error> {
        disk::make_private(dir).map_err(|source| Error::file("make", dir, source))
    }
}

/// The addresses that are in use.
pub(crate) fn addresses(attachments: &[Attachment]) -> BTreeSet<IpAddr> {
    attachments.iter().flat_map(Attachment::addresses).collect()
}
