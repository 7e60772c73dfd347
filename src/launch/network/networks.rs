//! The networks of this host, each a file below `STATE/networks`, in the form that netavark takes
//! them (and in which Podman keeps its own).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::launch::lifecycle::name;
use crate::launch::network::error::Error;
use crate::launch::network::mode::{DEFAULT, WORDS};
use crate::launch::network::{host, subnet};

/// The largest file read, in bytes.
const MAX: u64 = 1024 * 1024;
/// The driver of all networks here.
pub(crate) const BRIDGE: &str = "bridge";
/// How long a name may be: it is part of other names.
const MAX_NAME: usize = 128;

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) name: String,
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    pub(crate) driver: String,
    /// The bridge on the host.
    pub(crate) network_interface: String,
    pub(crate) created: Timestamp,
    pub(crate) subnets: Vec<Subnet>,
    #[serde(default)]
    pub(crate) ipv6_enabled: bool,
    /// Without a way out of this host.
    #[serde(default)]
    pub(crate) internal: bool,
    /// Whether containers find each other by name.
    #[serde(default)]
    pub(crate) dns_enabled: bool,
    /// Whom the name server asks for other names, instead of the host's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) network_dns_servers: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) options: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) ipam_options: BTreeMap<String, String>,
}

/// Addresses of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subnet {
    pub(crate) subnet: IpNet,
    /// The bridge's own address, by which containers leave the network.
    pub(crate) gateway: IpAddr,
    /// Those that containers are given; all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_range: Option<LeaseRange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseRange {
    pub(crate) start_ip: IpAddr,
    pub(crate) end_ip: IpAddr,
}

/// All networks of one place. Whoever changes them holds the lock ([`super::lock`]).
#[derive(Debug, Clone)]
pub(crate) struct Networks {
    dir: PathBuf,
}

impl Networks {
    pub(crate) fn open(state: &Path) -> Self {
        Self { dir: state.join("networks") }
    }

    /// The network with this name; `None` where there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Network>, Error> {
        if !name::is_valid(name) {
            return Ok(None);
        }
        let path = self.file(name);
        let bytes = disk::read(&path, MAX).map_err(|source| Error::file("read", &path, source))?;
        let Some(bytes) = bytes else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Document { path, source })
    }

    /// All networks, by name. One that cannot be read is an error: its addresses are not free.
    pub(crate) fn all(&self) -> Result<Vec<Network>, Error> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if disk::is_absent(&error) => return Ok(Vec::new()),
            entries => entries.map_err(|source| Error::file("list", &self.dir, source))?,
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
            .collect();
        names.sort();
        let mut networks = Vec::new();
        for name in names {
            networks.extend(self.get(&name)?);
        }
        Ok(networks)
    }

    /// The network that `word` names: by name, ID, or the beginning of an ID.
    ///
    /// # Errors
    /// Where there is none, or several.
    pub(crate) fn find(&self, word: &str) -> Result<Network, Error> {
        if let Some(network) = self.get(word)? {
            return Ok(network);
        }
        let mut matching = self.all()?.into_iter().filter(|network| network.id.starts_with(word));
        match (word.is_empty(), matching.next(), matching.next()) {
            (false, Some(network), None) => Ok(network),
            (false, Some(_), Some(_)) => Err(Error::Ambiguous(word.to_owned())),
            _ => Err(Error::NoSuchNetwork(word.to_owned())),
        }
    }

    /// The network to attach a container to; the default one is made where it is not there yet.
    pub(crate) fn attachable(&self, name: &str) -> Result<Network, Error> {
        match self.get(name)? {
            Some(network) => Ok(network),
            None if name == DEFAULT => self.make(Wanted::named(DEFAULT)),
            // It may be an ID.
            None => self.find(name),
        }
    }

    /// Makes a network, with what nobody asked for chosen so that it collides with nothing that
    /// this host knows of now.
    pub(crate) fn make(&self, wanted: Wanted) -> Result<Network, Error> {
        let known = self.all()?;
        let network = wanted.settle(&known)?;
        let failed = |source| Error::file("make", &self.dir, source);
        disk::make_private(&self.dir).map_err(failed)?;
        let path = self.file(&network.name);
        let bytes = serde_json::to_vec_pretty(&network)
            .map_err(|source| Error::Document { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|source| Error::file("write", &path, source))?;
        Ok(network)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.file(name);
        disk::remove(&path).map_err(|source| Error::file("remove", path, source))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }
}

/// A network to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Empty: as its bridge.
    pub(crate) name: String,
    /// None: one of IPv4 is chosen.
    pub(crate) subnets: Vec<subnet::Wanted>,
    pub(crate) ipv6: bool,
    pub(crate) internal: bool,
    pub(crate) dns: bool,
    pub(crate) dns_servers: Vec<IpAddr>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) interface: Option<String>,
}

impl Wanted {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), dns: true, ..Self::default() }
    }

    fn settle(self, known: &[Network]) -> Result<Network, Error> {
        if WORDS.contains(&self.name.as_str()) || self.name.len() > MAX_NAME {
            return Err(Error::NetworkName(self.name));
        }
        let exists = |name: &str| known.iter().any(|network| network.name == name);
        if exists(&self.name) {
            return Err(Error::NetworkExists(self.name));
        }
        let taken = host::Taken::look(known)?;
        let subnets = subnet::settle(&self.subnets, self.ipv6, &taken.subnets)?;
        let network_interface = match self.interface {
            Some(name) if taken.interfaces.contains(&name) => {
                return Err(Error::InterfaceTaken(name));
            }
            Some(name) => name,
            None => taken.free_interface(),
        };
        let name = if self.name.is_empty() { network_interface.clone() } else { self.name };
        if exists(&name) {
            return Err(Error::NetworkExists(name));
        }
        let id = name::new_id().ok_or(Error::Random)?.to_string();
        Ok(Network {
            name,
            id,
            driver: BRIDGE.to_owned(),
            network_interface,
            created: Timestamp::now(),
            ipv6_enabled: subnets.iter().any(|subnet| !is_v4(&subnet.subnet)),
            subnets,
            internal: self.internal,
            dns_enabled: self.dns,
            network_dns_servers: self.dns_servers,
            labels: self.labels,
            options: self.options,
            ipam_options: BTreeMap::from([("driver".to_owned(), "host-local".to_owned())]),
        })
    }
}

pub(crate) fn is_v4(net: &IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_finds_by_name_and_id() {
        let state = tempfile::tempdir().unwrap();
        let networks = Networks::open(state.path());
        assert_eq!(networks.all().unwrap(), []);
        let default = networks.attachable(DEFAULT).unwrap();
        let other = networks.make(Wanted::named("other")).unwrap();
        assert_eq!(networks.attachable(DEFAULT).unwrap(), default);
        assert_eq!(networks.find(&other.id[..12]).unwrap(), other);
        assert!(!subnet::overlap(&default.subnets[0].subnet, &other.subnets[0].subnet));
        assert_ne!(default.network_interface, other.network_interface);
        assert!(matches!(networks.find(""), Err(Error::NoSuchNetwork(_))));
        assert!(matches!(networks.attachable("nope"), Err(Error::NoSuchNetwork(_))));
        assert!(matches!(networks.get("../x"), Ok(None)));
        let again = networks.make(Wanted::named("other"));
        assert!(matches!(again, Err(Error::NetworkExists(_))));
        assert!(matches!(networks.make(Wanted::named("host")), Err(Error::NetworkName(_))));
        networks.remove("other").unwrap();
        assert_eq!(networks.all().unwrap(), [default]);
    }
}
