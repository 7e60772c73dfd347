//! What this host's own network looks like: which addresses and interfaces are in use.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::ifaddrs::getifaddrs;

use crate::launch::network::error::Error;
use crate::launch::network::networks::Network;

/// Podman's default network, which has no file and is only on the host while it is in use.
const PODMANS: &str = "10.88.0.0/16";
/// Podman's other networks.
const PODMANS_FILES: &str = "/etc/containers/networks";

/// What a new network must keep clear of.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) subnets: BTreeSet<IpNet>,
    pub(crate) interfaces: BTreeSet<String>,
}

impl Taken {
    /// Addresses and routes of this host, its networks in `known`, and Podman's.
    pub(crate) fn look(known: &[Network]) -> Result<Self, Error> {
        let mut taken = Self { subnets: BTreeSet::new(), interfaces: BTreeSet::new() };
        for network in known {
            taken.subnets.extend(network.subnets.iter().map(|subnet| subnet.subnet));
            taken.interfaces.insert(network.network_interface.clone());
        }
        for (interface, net) in addresses()? {
            taken.subnets.extend(net);
            taken.interfaces.insert(interface);
        }
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        taken.subnets.extend(routes_v4(&read("/proc/net/route")));
        taken.subnets.extend(routes_v6(&read("/proc/net/ipv6_route")));
        taken.subnets.extend(PODMANS.parse::<IpNet>());
        taken.add_podmans();
        Ok(taken)
    }

    /// Of Podman's files only what is understood counts: they are not ours.
    fn add_podmans(&mut self) {
        for entry in fs::read_dir(PODMANS_FILES).into_iter().flatten().flatten() {
            let text = fs::read(entry.path()).unwrap_or_default();
            if let Ok(network) = serde_json::from_slice::<Network>(&text) {
                self.subnets.extend(network.subnets.iter().map(|subnet| subnet.subnet));
                self.interfaces.insert(network.network_interface);
            }
        }
    }

    /// A name for a bridge: `upd0`, `upd1`, …
    pub(crate) fn free_interface(&self) -> String {
        let names = (0..=self.interfaces.len()).map(|number| format!("upd{number}"));
        let mut free = names.filter(|name| !self.interfaces.contains(name));
        // One more name than interfaces: one is free.
        free.next().unwrap_or_else(|| "upd0".to_owned())
    }
}

/// The interfaces, each with the subnets it is in.
fn addresses() -> Result<Vec<(String, Option<IpNet>)>, Error> {
    let all = getifaddrs().map_err(|error| Error::system("list the host's interfaces", error))?;
    Ok(all.map(|one| (one.interface_name.clone(), subnet_of(&one))).collect())
}

fn subnet_of(one: &nix::ifaddrs::InterfaceAddress) -> Option<IpNet> {
    let (address, netmask) = (one.address?, one.netmask?);
    if let (Some(address), Some(netmask)) = (address.as_sockaddr_in(), netmask.as_sockaddr_in()) {
        let net = Ipv4Net::with_netmask(address.ip(), netmask.ip()).ok()?;
        return Some(IpNet::V4(net.trunc()));
    }
    let (address, netmask) = (address.as_sockaddr_in6()?, netmask.as_sockaddr_in6()?);
    let net = Ipv6Net::with_netmask(address.ip(), netmask.ip()).ok()?;
    Some(IpNet::V6(net.trunc()))
}

/// The host's first address that others can reach, of IPv4 where it has one.
pub(crate) fn own_address() -> Option<IpAddr> {
    let found: Vec<IpAddr> = getifaddrs()
        .ok()?
        .filter_map(|one| {
            let address = one.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_loopback(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        })
        .collect();
    found.iter().find(|ip| ip.is_ipv4()).or(found.first()).copied()
}

/// The destinations in `/proc/net/route` (proc_net(5)); the default route is everybody's.
fn routes_v4(text: &str) -> Vec<IpNet> {
    let net = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        // In the byte order of the machine.
        let mut address = |nth| {
            let bits = u32::from_str_radix(fields.nth(nth)?, 16).ok()?;
            Some(Ipv4Addr::from(bits.to_ne_bytes()))
        };
        let (destination, mask) = (address(1)?, address(5)?);
        let net = Ipv4Net::with_netmask(destination, mask).ok()?;
        (net.prefix_len() > 0).then(|| IpNet::V4(net.trunc()))
    };
    text.lines().skip(1).filter_map(net).collect()
}

/// The destinations in `/proc/net/ipv6_route`; all of multicast is no subnet of anybody.
fn routes_v6(text: &str) -> Vec<IpNet> {
    let net = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let bits = u128::from_str_radix(fields.next()?, 16).ok()?;
        let prefix = u8::from_str_radix(fields.next()?, 16).ok()?;
        let net = Ipv6Net::new(Ipv6Addr::from_bits(bits), prefix).ok()?;
        (prefix > 0 && !net.network().is_multicast()).then(|| IpNet::V6(net.trunc()))
    };
    text.lines().filter_map(net).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010010AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000010AC\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0\nbroken\n";
        if cfg!(target_endian = "little") {
            assert_eq!(routes_v4(text), ["172.16.0.0/20".parse().unwrap()]);
        }
        let text = "fd000000000000000000000000000000 40 00 0 00 0 100 1 0 1 eth0\n\
            00000000000000000000000000000000 00 00 0 00 0 100 1 0 1 lo\n\
            ff000000000000000000000000000000 08 00 0 00 0 100 1 0 1 eth0\nx\n";
        assert_eq!(routes_v6(text), ["fd00::/64".parse().unwrap()]);
    }

    #[test]
    fn loopback_is_taken() {
        let taken = Taken::look(&[]).unwrap();
        assert!(taken.subnets.contains(&"127.0.0.0/8".parse().unwrap()));
        assert!(taken.interfaces.contains("lo"));
        assert!(!taken.interfaces.contains(&taken.free_interface()));
    }
}
