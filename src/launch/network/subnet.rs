//! Which addresses a network has, and which of them a container gets. Pure, but for the choice of
//! random IPv6 subnets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sha2::{Digest as _, Sha256};

use crate::launch::network::networks::{LeaseRange, Subnet, is_v4};

/// Where subnets of IPv4 are chosen from. Not where Podman (10.88.0.0/13, upwards) and Docker
/// (172.17.0.0/16, upwards) begin.
const POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 160, 0, 0), 11);
/// How large one is: 253 containers.
const PREFIX_V4: u8 = 24;
const PREFIX_V6: u8 = 64;
/// How many random subnets of IPv6 are tried.
const TRIES: usize = 100;

/// A subnet that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) subnet: IpNet,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) range: Option<LeaseRange>,
}

/// Why a network cannot have the addresses asked for, or a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSubnet {
    #[error("{0:?} is not a subnet, such as 10.89.7.0/24")]
    Form(String),
    #[error("subnet {0} has no room for a gateway and a container")]
    TooSmall(IpNet),
    #[error("subnet {0} overlaps with {1}, which this host uses")]
    Taken(IpNet, IpNet),
    #[error("no subnet of IPv{0} is free on this host: name one with --subnet")]
    NoneFree(u8),
    #[error("{0} is not an address for the gateway of {1}")]
    Gateway(IpAddr, IpNet),
    #[error(
        "{0:?} is not a range of addresses in a subnet of this network, such as 10.89.7.128/25"
    )]
    Range(String),
    #[error("{0} is not an address for a container of network {1}: {2}")]
    Address(IpAddr, String, &'static str),
    #[error("network {0} has no free address left in {1}")]
    Full(String, IpNet),
}

/// Whether two subnets have an address in common.
pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// A subnet as it is written, whatever address of it was named.
pub(crate) fn parse(text: &str) -> Result<IpNet, InvalidSubnet> {
    let net = IpNet::from_str(text).map_err(|_| InvalidSubnet::Form(text.to_owned()))?;
    Ok(net.trunc())
}

/// The subnets of a network: those asked for, checked; else a free one of IPv4; with `ipv6` also
/// one of IPv6, where none was asked for.
pub(crate) fn settle(
    wanted: &[Wanted],
    ipv6: bool,
    taken: &BTreeSet<IpNet>,
) -> Result<Vec<Subnet>, InvalidSubnet> {
    let mut taken = taken.clone();
    let mut settled = Vec::new();
    for wanted in wanted {
        settled.push(check(wanted, &taken)?);
        taken.insert(wanted.subnet);
    }
    let lacks = |settled: &[Subnet], v4| !settled.iter().any(|one| is_v4(&one.subnet) == v4);
    if wanted.is_empty() || ipv6 && lacks(&settled, true) {
        settled.insert(0, plain(free_v4(&taken)?));
    }
    if ipv6 && lacks(&settled, false) {
        settled.push(plain(free_v6(&taken)?));
    }
    Ok(settled)
}

fn plain(subnet: IpNet) -> Subnet {
    Subnet { subnet, gateway: first(&subnet), lease_range: None }
}

fn check(wanted: &Wanted, taken: &BTreeSet<IpNet>) -> Result<Subnet, InvalidSubnet> {
    let subnet = wanted.subnet;
    if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
        return Err(InvalidSubnet::TooSmall(subnet));
    }
    if let Some(other) = taken.iter().find(|other| overlap(other, &subnet)) {
        return Err(InvalidSubnet::Taken(subnet, *other));
    }
    let gateway = wanted.gateway.unwrap_or_else(|| first(&subnet));
    if !is_host(&subnet, gateway) {
        return Err(InvalidSubnet::Gateway(gateway, subnet));
    }
    Ok(Subnet { subnet, gateway, lease_range: wanted.range })
}

/// The first address that a host may have.
fn first(subnet: &IpNet) -> IpAddr {
    next(subnet.network()).unwrap_or_else(|| subnet.network())
}

fn next(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(ip) => ip.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// Whether a host of the subnet may have this address.
fn is_host(subnet: &IpNet, ip: IpAddr) -> bool {
    let broadcast = ip.is_ipv4() && ip == subnet.broadcast();
    subnet.contains(&ip) && ip != subnet.network() && !broadcast
}

fn free_v4(taken: &BTreeSet<IpNet>) -> Result<IpNet, InvalidSubnet> {
    let mut subnets = POOL.subnets(PREFIX_V4).into_iter().flatten().map(IpNet::V4);
    let is_free = |subnet: &IpNet| !taken.iter().any(|other| overlap(other, subnet));
    subnets.find(is_free).ok_or(InvalidSubnet::NoneFree(4))
}

/// A random unique local one (RFC 4193, section 3.2).
fn free_v6(taken: &BTreeSet<IpNet>) -> Result<IpNet, InvalidSubnet> {
    for _ in 0..TRIES {
        let bits = (0xfd_u128 << 120) | (u128::from(fastrand::u64(..) >> 8) << 64);
        let Ok(net) = Ipv6Net::new(Ipv6Addr::from_bits(bits), PREFIX_V6) else { continue };
        let net = IpNet::V6(net);
        if !taken.iter().any(|other| overlap(other, &net)) {
            return Ok(net);
        }
    }
    Err(InvalidSubnet::NoneFree(6))
}

/// `10.89.7.128/25`, or `10.89.7.10-10.89.7.20`
pub(crate) fn parse_range(text: &str) -> Result<LeaseRange, InvalidSubnet> {
    let invalid = || InvalidSubnet::Range(text.to_owned());
    let (start_ip, end_ip) = match text.split_once('-') {
        Some((start, end)) => {
            (start.parse().map_err(|_| invalid())?, end.parse().map_err(|_| invalid())?)
        }
        None => {
            let net = parse(text).map_err(|_| invalid())?;
            (net.network(), net.broadcast())
        }
    };
    match (start_ip, end_ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) if a <= b => Ok(LeaseRange { start_ip, end_ip }),
        (IpAddr::V6(a), IpAddr::V6(b)) if a <= b => Ok(LeaseRange { start_ip, end_ip }),
        _ => Err(invalid()),
    }
}

/// The addresses of a container, one in each subnet: those asked for, else one that is free, and
/// whose place depends on the container's name. So a container that is made anew has, as a rule, the
/// address that it had before.
pub(crate) fn lease(
    network: &str,
    subnets: &[Subnet],
    wanted: &[IpAddr],
    name: &str,
    used: &BTreeSet<IpAddr>,
) -> Result<Vec<IpAddr>, InvalidSubnet> {
    let refused = |ip, why| InvalidSubnet::Address(ip, network.to_owned(), why);
    for ip in wanted {
        if !subnets.iter().any(|subnet| is_host(&subnet.subnet, *ip)) {
            return Err(refused(*ip, "it is in none of its subnets"));
        }
    }
    let mut leased = Vec::new();
    for subnet in subnets {
        let asked = wanted.iter().find(|ip| subnet.subnet.contains(*ip));
        leased.push(match asked {
            Some(ip) if *ip == subnet.gateway => {
                return Err(refused(*ip, "it is the gateway's"));
            }
            Some(ip) if used.contains(ip) => return Err(refused(*ip, "another container has it")),
            Some(ip) => *ip,
            None => free(subnet, name, used)
                .ok_or_else(|| InvalidSubnet::Full(network.to_owned(), subnet.subnet))?,
        });
    }
    Ok(leased)
}

/// A free address: the first from where the name leads.
fn free(subnet: &Subnet, name: &str, used: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let (start, end) = match &subnet.lease_range {
        Some(range) => (bits(range.start_ip), bits(range.end_ip)),
        None => (bits(subnet.subnet.network()), bits(subnet.subnet.broadcast())),
    };
    let count = end.checked_sub(start)?.checked_add(1)?;
    let hash = Sha256::digest(name.as_bytes());
    let hash = hash.iter().take(8).fold(0u128, |all, byte| all << 8 | u128::from(*byte));
    // Nobody has more containers than that: it ends.
    let tries = count.min(used.len() as u128 + 4);
    (0..tries)
        .map(|try_| start + (hash % count + try_) % count)
        .map(|bits| address(bits, subnet.subnet.network()))
        .find(|ip| is_host(&subnet.subnet, *ip) && *ip != subnet.gateway && !used.contains(ip))
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The address with these bits, of the same family as `like`.
fn address(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        parse(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn taken(nets: &[&str]) -> BTreeSet<IpNet> {
        nets.iter().map(|text| net(text)).collect()
    }

    fn wanted(text: &str) -> Wanted {
        Wanted { subnet: net(text), gateway: None, range: None }
    }

    #[test]
    fn a_free_subnet_is_chosen() {
        let chosen = |nets: &[&str]| settle(&[], false, &taken(nets)).unwrap()[0].subnet;
        assert_eq!(chosen(&[]), net("10.160.0.0/24"));
        assert_eq!(chosen(&["10.160.0.7/32"]), net("10.160.1.0/24"));
        assert_eq!(chosen(&["10.160.0.0/16", "10.161.0.0/24"]), net("10.161.1.0/24"));
        let none = settle(&[], false, &taken(&["10.0.0.0/8"]));
        assert_eq!(none, Err(InvalidSubnet::NoneFree(4)));
    }

    #[test]
    fn with_ipv6_there_is_one_of_each() {
        let both = settle(&[], true, &taken(&[])).unwrap();
        assert!(is_v4(&both[0].subnet) && !is_v4(&both[1].subnet));
        assert!(both[1].subnet.to_string().starts_with("fd"), "{both:?}");
        assert_eq!(settle(&[wanted("fd01::/64")], false, &taken(&[])).unwrap().len(), 1);
        let added = settle(&[wanted("fd01::/64")], true, &taken(&[])).unwrap();
        assert!(is_v4(&added[0].subnet) && added[1].subnet == net("fd01::/64"));
    }

    #[test]
    fn what_was_asked_for_is_checked() {
        let ask = |one: Wanted| settle(&[one], false, &taken(&["10.1.0.0/16"]));
        assert_eq!(ask(wanted("10.2.0.9/24")).unwrap()[0].gateway, ip("10.2.0.1"));
        assert!(matches!(ask(wanted("10.1.5.0/24")), Err(InvalidSubnet::Taken(..))));
        assert!(matches!(ask(wanted("10.0.0.0/8")), Err(InvalidSubnet::Taken(..))));
        assert!(matches!(ask(wanted("10.2.0.0/31")), Err(InvalidSubnet::TooSmall(_))));
        for gateway in ["10.2.0.0", "10.2.0.255", "10.3.0.1", "fd00::1"] {
            let gateway = Some(ip(gateway));
            let asked = ask(Wanted { gateway, ..wanted("10.2.0.0/24") });
            assert!(matches!(asked, Err(InvalidSubnet::Gateway(..))), "{gateway:?}");
        }
        let twice = settle(&[wanted("10.2.0.0/24"), wanted("10.2.0.0/25")], false, &taken(&[]));
        assert!(matches!(twice, Err(InvalidSubnet::Taken(..))));
    }

    #[test]
    fn ranges_are_read() {
        let range = parse_range("10.2.0.128/25").unwrap();
        assert_eq!((range.start_ip, range.end_ip), (ip("10.2.0.128"), ip("10.2.0.255")));
        let range = parse_range("10.2.0.5-10.2.0.9").unwrap();
        assert_eq!((range.start_ip, range.end_ip), (ip("10.2.0.5"), ip("10.2.0.9")));
        for wrong in ["", "x", "10.2.0.9-10.2.0.5", "10.2.0.1-fd00::1", "10.2.0.1", "-"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_address_is_leased_once_and_then_none() {
        let subnets = settle(&[wanted("10.2.0.0/29")], false, &taken(&[])).unwrap();
        let mut used = BTreeSet::new();
        for name in ["a", "b", "c", "d", "e"] {
            let leased = lease("n", &subnets, &[], name, &used).unwrap();
            assert!(is_host(&subnets[0].subnet, leased[0]) && leased[0] != ip("10.2.0.1"));
            assert!(used.insert(leased[0]), "{leased:?}");
        }
        let full = lease("n", &subnets, &[], "f", &used);
        assert!(matches!(full, Err(InvalidSubnet::Full(..))), "{full:?}");
    }

    #[test]
    fn the_same_name_has_the_same_address() {
        let subnets = settle(&[], true, &taken(&[])).unwrap();
        let of = |name: &str| lease("n", &subnets, &[], name, &BTreeSet::new()).unwrap();
        assert_eq!(of("web"), of("web"));
        assert_ne!(of("web"), of("db"));
        assert_eq!(of("web").len(), 2);
    }

    #[test]
    fn an_address_asked_for_must_be_free() {
        let subnets = settle(&[wanted("10.2.0.0/24")], false, &taken(&[])).unwrap();
        let used = BTreeSet::from([ip("10.2.0.7")]);
        let ask = |text: &str| lease("n", &subnets, &[ip(text)], "web", &used);
        assert_eq!(ask("10.2.0.8").unwrap(), [ip("10.2.0.8")]);
        for wrong in ["10.2.0.7", "10.2.0.1", "10.2.0.0", "10.2.0.255", "10.3.0.8", "fd00::2"] {
            assert!(matches!(ask(wrong), Err(InvalidSubnet::Address(..))), "{wrong}");
        }
    }

    #[test]
    fn leases_stay_in_their_range() {
        let range = Some(parse_range("10.2.0.5-10.2.0.6").unwrap());
        let one = Wanted { range, ..wanted("10.2.0.0/24") };
        let subnets = settle(&[one], false, &taken(&[])).unwrap();
        let first = lease("n", &subnets, &[], "a", &BTreeSet::new()).unwrap()[0];
        let second = lease("n", &subnets, &[], "a", &BTreeSet::from([first])).unwrap()[0];
        assert_eq!(
            BTreeSet::from([first, second]),
            BTreeSet::from([ip("10.2.0.5"), ip("10.2.0.6")])
        );
        let used = BTreeSet::from([first, second]);
        assert!(lease("n", &subnets, &[], "a", &used).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9a-f:./-]{0,30}", prefix in 0u8..=128, name in ".{0,9}") {
            let _ = parse_range(&text);
            for base in [ip("fd00::"), ip("255.255.255.255"), ip("0.0.0.0")] {
                let Ok(subnet) = IpNet::new(base, prefix) else { continue };
                let asked = Wanted { subnet: subnet.trunc(), gateway: None, range: None };
                if let Ok(subnets) = settle(&[asked], false, &BTreeSet::new()) {
                    let _ = lease("n", &subnets, &[], &name, &BTreeSet::new());
                }
            }
        }
    }
}
