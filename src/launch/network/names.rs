//! Names in a container: its `/etc/hosts` and `/etc/resolv.conf`. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::launch::args::NetworkFlags;

/// What the flags say of names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Names {
    /// The image's `/etc/hosts`, as it is.
    pub(crate) no_hosts: bool,
    extra: Vec<(String, Address)>,
    /// `None`: the image's `/etc/resolv.conf`, as it is.
    pub(crate) resolver: Option<Resolver>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    Ip(IpAddr),
    /// By which the host is reached.
    HostGateway,
}

/// `--dns`, `--dns-search`, `--dns-option`; none of a kind: the host's, or the network's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Resolver {
    pub(crate) servers: Vec<IpAddr>,
    search: Option<Vec<String>>,
    options: Vec<String>,
}

/// Why a flag says nothing of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidName {
    #[error("--dns {0:?} is no IP address, and not \"none\"")]
    Server(String),
    #[error("--dns none leaves the image's file as it is: {0} cannot change it")]
    ServerNone(&'static str),
    #[error("{flag} {text:?} is no word of resolv.conf(5)")]
    Word { flag: &'static str, text: String },
    #[error("--add-host {0:?}: expected NAME:ADDRESS, or NAME:host-gateway")]
    Host(String),
    #[error("--add-host cannot be used together with --no-hosts")]
    NoHosts,
    #[error("--add-host {0}:host-gateway: no network of the container leads to the host")]
    NoGateway(String),
}

impl Names {
    /// # Errors
    /// All that can be wrong with the flags.
    pub(crate) fn parse(flags: &NetworkFlags) -> Result<Self, InvalidName> {
        if flags.no_hosts && !flags.add_host.is_empty() {
            return Err(InvalidName::NoHosts);
        }
        let mut extra = Vec::new();
        for text in &flags.add_host {
            let (names, address) = parse_host(text)?;
            extra.extend(names.into_iter().map(|name| (name, address)));
        }
        Ok(Self { no_hosts: flags.no_hosts, extra, resolver: Resolver::parse(flags)? })
    }

    /// Whether they add anything to what a network gives.
    pub(crate) fn are_default(&self) -> bool {
        self.extra.is_empty() && self.resolver == Some(Resolver::default())
    }
}

/// `NAME[;NAME…]:ADDRESS`
fn parse_host(text: &str) -> Result<(Vec<String>, Address), InvalidName> {
    let invalid = || InvalidName::Host(text.to_owned());
    let (names, address) = text.split_once(':').ok_or_else(invalid)?;
    let names: Vec<String> = names.split(';').map(str::to_owned).collect();
    if !names.iter().all(|name| is_word(name) && !name.starts_with('#')) {
        return Err(invalid());
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match address {
        "host-gateway" => Address::HostGateway,
        address => Address::Ip(bare.unwrap_or(address).parse().map_err(|_| invalid())?),
    };
    Ok((names, address))
}

/// A word of a file that is read line by line, word by word.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

impl Resolver {
    fn parse(flags: &NetworkFlags) -> Result<Option<Self>, InvalidName> {
        if flags.dns.iter().any(|server| server == "none") {
            return match () {
                () if flags.dns.len() > 1 => Err(InvalidName::ServerNone("--dns")),
                () if !flags.dns_search.is_empty() => Err(InvalidName::ServerNone("--dns-search")),
                () if !flags.dns_option.is_empty() => Err(InvalidName::ServerNone("--dns-option")),
                () => Ok(None),
            };
        }
        let server = |text: &String| text.parse().map_err(|_| InvalidName::Server(text.clone()));
        let servers = flags.dns.iter().map(server).collect::<Result<Vec<IpAddr>, _>>()?;
        let words = |flag, words: &[String]| -> Result<Vec<String>, InvalidName> {
            let word = |text: &String| match is_word(text) {
                true => Ok(text.clone()),
                false => Err(InvalidName::Word { flag, text: text.clone() }),
            };
            words.iter().map(word).collect()
        };
        let search = words("--dns-search", &flags.dns_search)?;
        let search = (!search.is_empty())
            .then(|| search.into_iter().filter(|domain| domain != ".").collect());
        Ok(Some(Self { servers, search, options: words("--dns-option", &flags.dns_option)? }))
    }
}

/// What a container's network gives it to be reached, and to reach others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Surroundings<'a> {
    /// The host's files, or empty ones.
    pub(crate) hosts: &'a str,
    pub(crate) resolver: &'a str,
    /// Whether this is the host's own network, where its loopback is.
    pub(crate) is_hosts: bool,
    /// The container's own addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// By which the host is reached.
    pub(crate) gateway: Option<IpAddr>,
    /// The networks' name servers, and their domains.
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) domains: Vec<String>,
}

/// `/etc/hosts`: what was asked for, the host's own lines, and what a program may count on:
/// localhost, the host, and the container itself.
pub(crate) fn hosts(
    names: &Names,
    around: &Surroundings<'_>,
    own: &[&str],
) -> Result<String, InvalidName> {
    let mut text = String::new();
    for (name, address) in &names.extra {
        let ip = match address {
            Address::Ip(ip) => *ip,
            Address::HostGateway => {
                around.gateway.ok_or_else(|| InvalidName::NoGateway(name.clone()))?
            }
        };
        text.push_str(&format!("{ip}\t{name}\n"));
    }
    text.push_str(around.hosts);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let known: BTreeSet<String> = known_names(&text);
    if !known.contains("localhost") {
        text.push_str("127.0.0.1\tlocalhost\n::1\tlocalhost\n");
    }
    if let Some(gateway) = around.gateway.filter(|_| !around.is_hosts)
        && !known.contains("host.containers.internal")
    {
        text.push_str(&format!("{gateway}\thost.containers.internal host.docker.internal\n"));
    }
    let mut own: Vec<&str> = own.to_vec();
    own.dedup();
    let own = own.join(" ");
    let first = own.split(' ').next().unwrap_or_default();
    if around.addresses.is_empty() {
        text = with_name(&text, first);
    } else if !names.extra.iter().any(|(name, _)| name == first) {
        around.addresses.iter().for_each(|ip| text.push_str(&format!("{ip}\t{own}\n")));
    }
    Ok(text)
}

/// The same file, with `name` in it: on the loopback, where it was not there.
pub(crate) fn with_name(hosts: &str, name: &str) -> String {
    match known_names(hosts).contains(name) {
        true => hosts.to_owned(),
        false => format!("{hosts}{}\t{name}\n", Ipv4Addr::new(127, 0, 1, 1)),
    }
}

/// The names in a file of hosts (hosts(5)).
fn known_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.split('#').next()) {
        let mut words = line.split_ascii_whitespace();
        if words.next().is_some_and(|word| word.parse::<IpAddr>().is_ok()) {
            names.extend(words.map(str::to_owned));
        }
    }
    names
}

/// `/etc/resolv.conf`: the networks' name servers, which ask those of the flags; where no network
/// has one, those of the flags, else the host's that can be reached.
pub(crate) fn resolver(flags: &Resolver, around: &Surroundings<'_>) -> String {
    let lines = |key: &str| -> Vec<Vec<&str>> {
        let lines = around.resolver.lines().map(|line| line.split_ascii_whitespace());
        lines.filter_map(|mut words| (words.next() == Some(key)).then(|| words.collect())).collect()
    };
    let of_host: Vec<&str> =
        lines("search").pop().or_else(|| lines("domain").pop()).unwrap_or_default();
    let search: Vec<&str> = match &flags.search {
        Some(search) => search.iter().map(String::as_str).collect(),
        None => around.domains.iter().map(String::as_str).chain(of_host).collect(),
    };
    let servers: Vec<String> = if !around.servers.is_empty() {
        around.servers.iter().map(ToString::to_string).collect()
    } else if !flags.servers.is_empty() {
        flags.servers.iter().map(ToString::to_string).collect()
    } else {
        let servers = lines("nameserver").into_iter().filter_map(|words| words.first().copied());
        servers
            .filter(|server| around.is_hosts || !is_loopback(server))
            .map(str::to_owned)
            .collect()
    };
    let options: Vec<&str> = match flags.options.is_empty() {
        true => lines("options").concat(),
        false => flags.options.iter().map(String::as_str).collect(),
    };
    let mut text = String::new();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    servers.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n")));
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

/// Whether all name servers of a file are on the host's loopback, where a container cannot reach
/// them.
pub(crate) fn all_on_loopback(resolver: &str) -> bool {
    let servers = resolver.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    servers.into_iter().all(is_loopback)
}

fn is_loopback(server: &str) -> bool {
    server.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn names(add_host: &[&str]) -> Names {
        let flags = NetworkFlags { add_host: words(add_host), ..NetworkFlags::default() };
        Names::parse(&flags).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_have_localhost_and_the_name() {
        let on = |hosts: &str, own: &[&str]| {
            let around = Surroundings { hosts, is_hosts: true, ..Surroundings::default() };
            super::hosts(&names(&[]), &around, own).unwrap()
        };
        let localhost = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
        assert_eq!(on("", &["web"]), format!("{localhost}127.0.1.1\tweb\n"));
        let host = "127.0.0.1 localhost\n10.0.0.1 web # this one";
        assert_eq!(on(host, &["web"]), format!("{host}\n"));
        assert!(on("# 10.0.0.1 web\n", &["web"]).ends_with("127.0.1.1\tweb\n"));
    }

    #[test]
    fn on_a_bridge_the_container_and_the_host_have_names() {
        let around = Surroundings {
            hosts: "127.0.0.1 localhost\n127.0.1.1 box\n",
            addresses: vec![ip("10.1.0.2"), ip("fd00::2")],
            gateway: Some(ip("10.1.0.1")),
            ..Surroundings::default()
        };
        let extra = ["db;cache:10.9.0.9", "up:host-gateway", "six:::1", "seven:[fd00::7]"];
        let text = hosts(&names(&extra), &around, &["web", "app"]).unwrap();
        assert_eq!(
            text,
            "10.9.0.9\tdb\n10.9.0.9\tcache\n10.1.0.1\tup\n::1\tsix\nfd00::7\tseven\n\
             127.0.0.1 localhost\n127.0.1.1 box\n\
             10.1.0.1\thost.containers.internal host.docker.internal\n\
             10.1.0.2\tweb app\nfd00::2\tweb app\n"
        );
        let nowhere = Surroundings { gateway: None, ..around };
        assert!(hosts(&names(&["up:host-gateway"]), &nowhere, &["web"]).is_err());
    }

    #[test]
    fn wrong_hosts_are_refused() {
        for text in
            ["", "a", ":1.2.3.4", "a:", "a:b", "a b:1.2.3.4", "a\n1.1.1.1 x:1.2.3.4", "#:::"]
        {
            let flags = NetworkFlags { add_host: words(&[text]), ..NetworkFlags::default() };
            assert!(Names::parse(&flags).is_err(), "{text:?}");
        }
        let no_hosts = NetworkFlags {
            add_host: words(&["a:1.1.1.1"]),
            no_hosts: true,
            ..NetworkFlags::default()
        };
        assert_eq!(Names::parse(&no_hosts), Err(InvalidName::NoHosts));
    }

    fn resolver_of(dns: &[&str], search: &[&str], options: &[&str]) -> Option<Resolver> {
        let flags = NetworkFlags {
            dns: words(dns),
            dns_search: words(search),
            dns_option: words(options),
            ..NetworkFlags::default()
        };
        Names::parse(&flags).unwrap().resolver
    }

    const HOST: &str =
        "# by hand\nsearch lan\nnameserver 127.0.0.53\nnameserver 10.0.0.53\noptions edns0\n";

    #[test]
    fn a_network_resolves_names() {
        let around = Surroundings {
            resolver: HOST,
            servers: vec![ip("10.1.0.1")],
            domains: words(&["dns.podman"]),
            ..Surroundings::default()
        };
        let plain = resolver(&resolver_of(&[], &[], &[]).unwrap(), &around);
        assert_eq!(plain, "search dns.podman lan\nnameserver 10.1.0.1\noptions edns0\n");
        let flags = resolver_of(&["9.9.9.9"], &["x.org"], &["ndots:2"]).unwrap();
        let asked = resolver(&flags, &around);
        assert_eq!(asked, "search x.org\nnameserver 10.1.0.1\noptions ndots:2\n");
        let none = resolver(&resolver_of(&[], &["."], &[]).unwrap(), &around);
        assert!(!none.contains("search"), "{none}");
    }

    #[test]
    fn without_one_the_hosts_servers_do_that_can_be_reached() {
        let with = |is_hosts, dns: &[&str]| {
            let around = Surroundings { resolver: HOST, is_hosts, ..Surroundings::default() };
            resolver(&resolver_of(dns, &[], &[]).unwrap(), &around)
        };
        assert_eq!(with(false, &[]), "search lan\nnameserver 10.0.0.53\noptions edns0\n");
        assert!(with(true, &[]).contains("127.0.0.53"));
        assert!(with(true, &["9.9.9.9"]).contains("nameserver 9.9.9.9\n"));
        assert!(!with(true, &["9.9.9.9"]).contains("127.0.0.53"));
        assert!(all_on_loopback("nameserver 127.0.0.53\nnameserver ::1\n"));
        assert!(!all_on_loopback(HOST));
    }

    #[test]
    fn an_image_may_keep_its_own() {
        assert_eq!(resolver_of(&["none"], &[], &[]), None);
        for (dns, search) in
            [(&["none", "9.9.9.9"][..], &[][..]), (&["none"], &["x"]), (&["x"], &[])]
        {
            let flags = NetworkFlags {
                dns: words(dns),
                dns_search: words(search),
                ..NetworkFlags::default()
            };
            assert!(Names::parse(&flags).is_err(), "{dns:?}");
        }
        let flags = NetworkFlags { dns_option: words(&["a\nb"]), ..NetworkFlags::default() };
        assert!(Names::parse(&flags).is_err());
    }

    proptest! {
        #[test]
        fn no_flag_adds_a_line(host in "(?s).{0,20}", search in "(?s).{0,20}") {
            let flags = NetworkFlags {
                add_host: vec![format!("{host}:1.2.3.4")],
                dns_search: vec![search],
                ..NetworkFlags::default()
            };
            if let Ok(names) = Names::parse(&flags) {
                let around = Surroundings::default();
                let count = names.extra.len();
                let hosts = hosts(&names, &around, &["web"]).unwrap();
                prop_assert_eq!(hosts.lines().count(), count + 3);
                let text = resolver(names.resolver.as_ref().unwrap(), &around);
                prop_assert!(text.lines().count() <= 1);
            }
        }
    }
}
