//! netavark: attaches a network namespace to bridges, publishes ports, and tells the name server
//! aardvark-dns of names. What it is told, what it says, and running it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::launch::network::error::Error;
use crate::launch::network::mode::Mac;
use crate::launch::network::networks::Network;
use crate::launch::network::program::{self, Outcome};
use crate::launch::network::publish::{Protocol, Publish};
use crate::model::ContainerId;

/// How long one call may take: it runs dozens of other programs, and the name server's start waits
/// for systemd.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the name server may take to begin, or to end, once it was told.
const NAME_SERVER: Duration = Duration::from_secs(3);
const NAME: &str = "netavark";

/// What netavark is told of a namespace to set up; the same again to undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) container_id: ContainerId,
    pub(crate) container_name: String,
    /// None, where there are none: an empty list counts as some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port_mappings: Option<Vec<PortMapping>>,
    /// By the networks' keys ([`key`]).
    pub(crate) networks: BTreeMap<String, PerNetwork>,
    pub(crate) network_info: BTreeMap<String, Network>,
    /// Whom the name server asks on behalf of this container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dns_servers: Option<Vec<IpAddr>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortMapping {
    /// Empty for all addresses.
    pub(crate) host_ip: String,
    pub(crate) host_port: u16,
    pub(crate) container_port: u16,
    pub(crate) range: u16,
    pub(crate) protocol: Protocol,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PerNetwork {
    /// One for each subnet, in their order.
    pub(crate) static_ips: Vec<IpAddr>,
    pub(crate) static_mac: Mac,
    pub(crate) aliases: Vec<String>,
    pub(crate) interface_name: String,
}

/// What came of it, for each network.
pub(crate) type Status = BTreeMap<String, Attached>;

/// A container's place in one network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Attached {
    #[serde(default)]
    pub(crate) dns_search_domains: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) dns_server_ips: Option<Vec<IpAddr>>,
    #[serde(default)]
    pub(crate) interfaces: BTreeMap<String, Interface>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interface {
    pub(crate) mac_address: String,
    #[serde(default)]
    pub(crate) subnets: Option<Vec<Address>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) ipnet: IpNet,
    #[serde(default)]
    pub(crate) gateway: Option<IpAddr>,
}

/// What a network is called by netavark: it names firewall chains after it, which a network of
/// Podman's with the same name must not share.
pub(crate) fn key(network: &Network) -> String {
    format!("{}-{}", network.name, network.id.get(..8).unwrap_or(&network.id))
}

impl From<&Publish> for PortMapping {
    /// Of one whose port of the host has been chosen.
    fn from(publish: &Publish) -> Self {
        Self {
            host_ip: publish.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            host_port: publish.host.unwrap_or_default(),
            container_port: publish.container,
            range: publish.count,
            protocol: publish.protocol,
        }
    }
}

/// The installed programs, and where they keep their files.
#[derive(Debug)]
pub(crate) struct Netavark {
    program: PathBuf,
    name_server: Option<PathBuf>,
    directory: PathBuf,
}

impl Netavark {
    /// Finds the programs; `directory` is there already.
    ///
    /// # Errors
    /// Where netavark is not installed.
    pub(crate) fn find(directory: PathBuf) -> Result<Self, Error> {
        let missing = Error::Missing {
            program: NAME,
            package: "netavark",
            what: "connects containers to bridge networks",
        };
        let program = program::find(NAME).ok_or(missing)?;
        Ok(Self { program, name_server: program::find("aardvark-dns"), directory })
    }

    /// # Errors
    /// Where a network needs a name server, and aardvark-dns is not installed: netavark would go on
    /// without.
    pub(crate) fn require_name_server(&self, networks: &[Network]) -> Result<(), Error> {
        if self.name_server.is_none() && networks.iter().any(|network| network.dns_enabled) {
            return Err(Error::Missing {
                program: "aardvark-dns",
                package: "aardvark-dns",
                what: "lets containers find each other by name (or use networks that were made \
                       with --disable-dns)",
            });
        }
        Ok(())
    }

    /// Sets a namespace up. Where it fails, something may be there already: [`Self::undo`] it.
    pub(crate) fn set_up(&self, namespace: &Path, options: &Options) -> Result<Status, Error> {
        self.forget_dead_name_server();
        let said = self.run("setup", namespace, options, "set up the container's network")?;
        let status = serde_json::from_str(&said).map_err(|error| Error::Program {
            program: NAME,
            what: "say what it set up",
            said: error.to_string(),
        })?;
        self.await_name_server();
        Ok(status)
    }

    /// Undoes it, with the same namespace still there.
    pub(crate) fn undo(&self, namespace: &Path, options: &Options) -> Result<(), Error> {
        self.forget_dead_name_server();
        let undone = self.run("teardown", namespace, options, "take down a container's network");
        self.await_end_of_name_server();
        undone.map(drop)
    }

    fn run(
        &self,
        verb: &'static str,
        namespace: &Path,
        options: &Options,
        what: &'static str,
    ) -> Result<String, Error> {
        let input = serde_json::to_vec(options)
            .map_err(|source| Error::Document { path: self.directory.clone(), source })?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.directory).args(["--rootless", "false"]);
        // Without one, it looks in vain at a path where none is.
        let absent = Path::new("/nonexistent");
        command.arg("--aardvark-binary").arg(self.name_server.as_deref().unwrap_or(absent));
        command.arg(verb).arg(namespace);
        let failed = |source| Error::file("run", &self.program, source);
        match program::run(&mut command, &input, LIMIT).map_err(failed)? {
            Outcome::Slow => Err(Error::Slow { program: NAME, what, limit: LIMIT }),
            Outcome::Ended { status, output, .. } if status.success() => Ok(output),
            Outcome::Ended { status, output, errors } => {
                let said = complaint(&output).unwrap_or(errors);
                let said = if said.is_empty() { status.to_string() } else { said };
                Err(Error::Program { program: NAME, what, said })
            }
        }
    }

    fn name_server_files(&self) -> PathBuf {
        self.directory.join("aardvark-dns")
    }

    fn pid_file(&self) -> PathBuf {
        self.name_server_files().join("aardvark.pid")
    }

    /// The name server's process, as its file says; whether it is its own is not known.
    fn name_server_pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()
    }

    /// netavark sends SIGHUP to whoever has the number of a name server that was killed.
    fn forget_dead_name_server(&self) {
        let Some(pid) = self.name_server_pid() else { return };
        let path = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        // A package that was upgraded meanwhile: "/usr/lib/podman/aardvark-dns (deleted)".
        let name = path.file_name().map(|name| name.as_bytes().starts_with(b"aardvark-dns"));
        if name != Some(true) {
            let _ = std::fs::remove_file(self.pid_file());
        }
    }

    /// The SIGHUP of the next setup would kill a name server that has only just begun.
    fn await_name_server(&self) {
        let Some(pid) = self.name_server_pid() else { return };
        until(NAME_SERVER, || catches_hangup(pid).unwrap_or(true));
    }

    /// A name server that has no more networks ends; what the next setup tells one that is about to
    /// is lost.
    fn await_end_of_name_server(&self) {
        let directory = std::fs::read_dir(self.name_server_files());
        let networks = directory.into_iter().flatten().flatten();
        let mut networks = networks.filter(|entry| entry.file_name() != "aardvark.pid");
        let Some(pid) = self.name_server_pid().filter(|_| networks.next().is_none()) else {
            return;
        };
        until(NAME_SERVER, || catches_hangup(pid).is_none());
    }
}

/// Waits for a condition, at most for so long.
fn until(limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process has a handler for SIGHUP (proc_pid_status(5)); `None` where it is gone.
fn catches_hangup(pid: i32) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_ascii_whitespace().nth(1)
    };
    if matches!(field("State:"), Some("Z" | "X")) {
        return None;
    }
    let caught = u64::from_str_radix(field("SigCgt:")?, 16).ok()?;
    Some(caught & 1 << (libc::SIGHUP - 1) != 0)
}

/// netavark says why it failed as JSON.
fn complaint(output: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Complaint {
        error: String,
    }
    serde_json::from_str::<Complaint>(output).ok().map(|complaint| complaint.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let text = r#"{"web-12345678":{"dns_search_domains":["dns.podman"],"dns_server_ips":["10.1.0.1"],
            "interfaces":{"eth0":{"mac_address":"02:75:0a:01:00:02",
            "subnets":[{"gateway":"10.1.0.1","ipnet":"10.1.0.2/24"}]}}}}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        let interface = &status["web-12345678"].interfaces["eth0"];
        let address = &interface.subnets.as_ref().unwrap()[0];
        assert_eq!(address.ipnet.to_string(), "10.1.0.2/24");
        assert_eq!(complaint(r#"{"error":"no"}"#).as_deref(), Some("no"));
        assert_eq!(complaint("no"), None);
    }

    #[test]
    fn who_handles_a_hangup_is_seen() {
        let pid = std::process::id().cast_signed();
        assert_eq!(catches_hangup(pid), Some(false));
        assert_eq!(catches_hangup(i32::MAX), None);
    }
}
