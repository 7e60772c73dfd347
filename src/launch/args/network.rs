//! Whom a container can reach, and under which name it is reached.

use std::net::{Ipv4Addr, Ipv6Addr};

use clap::Args;
use serde::{Deserialize, Serialize};

// Whom a container can reach, and under which name it is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NetworkFlags {
    /// Host name in the container
    #[arg(short, long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Network: host, none, container:NAME, ns:PATH, or the name of one or several networks, each
    /// with options behind a colon (ip=, ip6=, mac=, alias=, interface_name=); "bridge", and the
    /// default, is the network "updaterd". For an ordinary user the default is pasta[:OPTION,...]
    #[arg(long, visible_alias = "net", value_name = "NETWORK[:OPTIONS]")]
    pub(crate) network: Vec<String>,
    /// Lead a port of the host, or a range, to the container; any free one where the host's is not
    /// said
    #[arg(short, long, value_name = "[[IP:][HOSTPORT]:]PORT[/PROTOCOL]")]
    pub(crate) publish: Vec<String>,
    /// IPv4 address on the network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<Ipv4Addr>,
    /// IPv6 address on the network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<Ipv6Addr>,
    /// Hardware address on the network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac_address: Option<String>,
    /// Another name by which others on its networks find the container
    #[arg(long, value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// Name server, instead of the host's; "none" leaves the image's /etc/resolv.conf as it is
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<String>,
    /// Option for /etc/resolv.conf, instead of the host's
    #[arg(long, value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
    /// Domain in which names are looked up, instead of the host's; "." for none
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// Add a line to /etc/hosts; "host-gateway" is the address by which the host is reached
    #[arg(long, value_name = "NAME[;NAME...]:ADDRESS")]
    pub(crate) add_host: Vec<String>,
    /// Leave the image's /etc/hosts as it is
    #[arg(long)]
    pub(crate) no_hosts: bool,
}

// Which ports a container serves, and whether the host leads to all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ExposeFlags {
    /// Lead a free port of the host to each port that the image or --expose names
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Name a port, or a range, that the container serves
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    pub(crate) expose: Vec<String>,
}
