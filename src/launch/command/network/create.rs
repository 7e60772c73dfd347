//! `updater-launch network create`

use std::net::IpAddr;

use clap::{Args, ValueEnum};

use crate::launch::lifecycle::{asked, name};
use crate::launch::network::networks::Wanted;
use crate::launch::network::{self, mode, options, subnet};
use crate::launch::place::Place;
use crate::launch::{Error, say};

// `network create`, with the flags of podman-network-create(1) that are there.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Subnet, such as 10.89.7.0/24, of IPv4 or IPv6; a free one is chosen where there is none
    #[arg(long, value_name = "SUBNET", value_parser = subnet::parse)]
    subnet: Vec<ipnet::IpNet>,
    /// Gateway in the subnet, in the order of the subnets; else its first address
    #[arg(long, value_name = "ADDRESS", requires = "subnet")]
    gateway: Vec<IpAddr>,
    /// Addresses that containers are given, in the order of the subnets: a subnet, or FIRST-LAST
    #[arg(long, value_name = "RANGE", requires = "subnet", value_parser = subnet::parse_range)]
    ip_range: Vec<network::networks::LeaseRange>,
    /// With a subnet of IPv6, too
    #[arg(long)]
    ipv6: bool,
    /// Without a way out of this host
    #[arg(long)]
    internal: bool,
    /// What kind of network
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: Driver,
    /// Set a label
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Set an option: mtu=BYTES, metric=NUMBER, isolate=BOOL (no traffic to other isolated networks)
    #[arg(short, long, value_name = "OPTION=VALUE")]
    opt: Vec<String>,
    /// Containers do not find each other by name
    #[arg(long)]
    disable_dns: bool,
    /// Whom the network's name server asks for other names, instead of the host's
    #[arg(long, value_name = "ADDRESS", conflicts_with = "disable_dns")]
    dns: Vec<IpAddr>,
    /// Name of the bridge on this host; else upd0, and so on
    #[arg(long, value_name = "NAME")]
    interface_name: Option<String>,
    /// One of that name that is there already is no error
    #[arg(long, requires = "name")]
    ignore: bool,
    /// Name of the network; one is made up where there is none
    #[arg(value_parser = name::parse)]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Driver {
    Bridge,
}

pub(crate) fn create(place: &Place, flags: &Create) -> Result<u8, Error> {
    let Driver::Bridge = flags.driver;
    let wanted = Wanted {
        name: flags.name.clone().unwrap_or_default(),
        subnets: options::subnets(&flags.subnet, &flags.gateway, &flags.ip_range)
            .map_err(network::Error::from)?,
        ipv6: flags.ipv6,
        internal: flags.internal,
        dns: !flags.disable_dns,
        dns_servers: flags.dns.clone(),
        labels: asked::labels(&flags.label)?,
        options: options::parse(&flags.opt, flags.internal).map_err(network::Error::from)?,
        interface: flags.interface_name.clone().map(interface).transpose()?,
    };
    let (name, lock) = (wanted.name.clone(), network::lock(place)?);
    let made = network::networks(place).make(wanted);
    drop(lock);
    match made {
        Ok(network) => say(network.name)?,
        Err(network::Error::NetworkExists(_)) if flags.ignore => say(name)?,
        Err(error) => return Err(error.into()),
    }
    Ok(0)
}

fn interface(name: String) -> Result<String, network::Error> {
    match mode::is_interface(&name) {
        true => Ok(name),
        false => Err(mode::InvalidNetwork::Interface(name).into()),
    }
}
