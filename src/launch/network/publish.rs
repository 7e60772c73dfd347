//! Published ports (podman-run(1), `--publish`): how they are written, and read. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Ports of the host that lead into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Publish {
    /// The host's address; all of them where there is none.
    pub(crate) host_ip: Option<IpAddr>,
    /// The first port of the host; any free one where there is none.
    pub(crate) host: Option<u16>,
    /// The first port in the container.
    pub(crate) container: u16,
    /// How many, counting up on both sides; at least one.
    pub(crate) count: u16,
    pub(crate) protocol: Protocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// Why a text does not say what to publish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPublish {
    #[error(
        "--publish {0:?}: expected [[IP:][HOSTPORT]:]PORT[/PROTOCOL], an IPv6 address in brackets"
    )]
    Form(String),
    #[error("--publish {text:?}: {port:?} is no port or range of ports from 1 to 65535")]
    Port { text: String, port: String },
    #[error("--publish {text:?}: {protocol:?} is no protocol: expected tcp, udp or sctp")]
    Protocol { text: String, protocol: String },
    #[error("--publish {text:?}: {ip:?} is no IP address")]
    Address { text: String, ip: String },
    #[error("--publish {0:?}: the range of the host is not as long as the container's")]
    Lengths(String),
    #[error("--publish: {0} and {1} are the same port of the host")]
    Conflict(Publish, Publish),
}

impl Protocol {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            "sctp" => Some(Self::Sctp),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Publish {
    type Err = InvalidPublish;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || InvalidPublish::Form(text.to_owned());
        let (ports, protocol) = match text.split_once('/') {
            Some((ports, name)) => {
                let protocol = Protocol::parse(name).ok_or_else(|| InvalidPublish::Protocol {
                    text: text.to_owned(),
                    protocol: name.to_owned(),
                })?;
                (ports, protocol)
            }
            None => (text, Protocol::Tcp),
        };
        let (host_ip, ports) = split_address(text, ports)?;
        let (host, container) = match ports.split_once(':') {
            Some((host, container)) if !container.contains(':') => (Some(host), container),
            Some(_) => return Err(form()),
            None if host_ip.is_some() => return Err(form()),
            None => (None, ports),
        };
        let (container, count) = range(text, container)?;
        let host = match host.filter(|host| !host.is_empty() && *host != "0") {
            Some(host) => {
                let (host, hosts) = range(text, host)?;
                if hosts != count {
                    return Err(InvalidPublish::Lengths(text.to_owned()));
                }
                Some(host)
            }
            None => None,
        };
        Ok(Self { host_ip, host, container, count, protocol })
    }
}

/// `[IP:]REST`: an IPv6 address in brackets, an IPv4 address where two colons follow.
fn split_address<'a>(
    text: &str,
    ports: &'a str,
) -> Result<(Option<IpAddr>, &'a str), InvalidPublish> {
    let address = |ip: &str, rest| match ip.parse() {
        Ok(ip) => Ok((Some(ip), rest)),
        Err(_) => Err(InvalidPublish::Address { text: text.to_owned(), ip: ip.to_owned() }),
    };
    if let Some(rest) = ports.strip_prefix('[') {
        let (ip, rest) =
            rest.split_once("]:").ok_or_else(|| InvalidPublish::Form(text.to_owned()))?;
        return address(ip, rest);
    }
    match ports.split_once(':') {
        Some((ip, rest)) if rest.matches(':').count() == 1 => address(ip, rest),
        _ => Ok((None, ports)),
    }
}

/// `N` or `N-M`: the first, and how many.
fn range(text: &str, ports: &str) -> Result<(u16, u16), InvalidPublish> {
    let invalid = || InvalidPublish::Port { text: text.to_owned(), port: ports.to_owned() };
    let number = |word: &str| match word.bytes().all(|byte| byte.is_ascii_digit()) {
        true => word.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(invalid),
        false => Err(invalid()),
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(ports)?, number(ports)?),
    };
    let more = last.checked_sub(first).ok_or_else(invalid)?;
    // All 65535 of them, from 1.
    Ok((first, more + 1))
}

/// Reads all, and refuses those that want the same port of the host; those that say the same are
/// one.
pub(crate) fn parse(texts: &[String]) -> Result<Vec<Publish>, InvalidPublish> {
    let mut all: Vec<Publish> = Vec::new();
    for text in texts {
        let publish: Publish = text.parse()?;
        if publish.host.is_some() && all.contains(&publish) {
            continue;
        }
        if let Some(other) = all.iter().find(|other| other.overlaps(&publish)) {
            return Err(InvalidPublish::Conflict(*other, publish));
        }
        all.push(publish);
    }
    Ok(all)
}

impl Publish {
    /// Whether both want the same port of the host.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (Some(mine), Some(others)) = (self.host, other.host) else { return false };
        let addresses = match (self.host_ip, other.host_ip) {
            (Some(a), Some(b)) => {
                let both = a.is_ipv4() == b.is_ipv4();
                a == b || both && (a.is_unspecified() || b.is_unspecified())
            }
            _ => true,
        };
        let end = |first: u16, count: u16| u32::from(first) + u32::from(count);
        addresses
            && self.protocol == other.protocol
            && u32::from(mine) < end(others, other.count)
            && u32::from(others) < end(mine, self.count)
    }

    /// Whether the port of the container that `port` names is among those that this leads to.
    pub(crate) fn leads_to(&self, port: &Self) -> bool {
        let offset = port.container.checked_sub(self.container);
        self.protocol == port.protocol && offset.is_some_and(|offset| offset < self.count)
    }

    /// The pairs of ports: the host's and the container's. None before the host's are chosen.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (u16, u16)> + use<> {
        let container = self.container;
        let pairs = self.host.map(|host| (0..self.count).map(move |n| (host + n, container + n)));
        pairs.into_iter().flatten()
    }
}

/// As `--publish` takes it.
impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |f: &mut fmt::Formatter<'_>, first: u16| match self.count {
            0 | 1 => write!(f, "{first}"),
            count => write!(f, "{first}-{}", first + (count - 1)),
        };
        match self.host_ip {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            None => {}
        }
        if let Some(host) = self.host {
            range(f, host)?;
        }
        f.write_str(":")?;
        range(f, self.container)?;
        write!(f, "/{}", self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn publish(ip: &str, host: u16, container: u16, count: u16, protocol: Protocol) -> Publish {
        Publish {
            host_ip: ip.parse().ok(),
            host: Some(host).filter(|port| *port > 0),
            container,
            count,
            protocol,
        }
    }

    #[test]
    fn every_form_is_read() {
        for (text, wanted) in [
            ("80", publish("", 0, 80, 1, Protocol::Tcp)),
            (":80", publish("", 0, 80, 1, Protocol::Tcp)),
            ("8080:80", publish("", 8080, 80, 1, Protocol::Tcp)),
            ("8080:80/UDP", publish("", 8080, 80, 1, Protocol::Udp)),
            ("0:80/sctp", publish("", 0, 80, 1, Protocol::Sctp)),
            ("127.0.0.1:8080:80", publish("127.0.0.1", 8080, 80, 1, Protocol::Tcp)),
            ("127.0.0.1::80", publish("127.0.0.1", 0, 80, 1, Protocol::Tcp)),
            ("[::1]:8080:80/tcp", publish("::1", 8080, 80, 1, Protocol::Tcp)),
            ("[::]::80", publish("::", 0, 80, 1, Protocol::Tcp)),
            ("8000-8009:80-89", publish("", 8000, 80, 10, Protocol::Tcp)),
            ("80-89/udp", publish("", 0, 80, 10, Protocol::Udp)),
            ("1-65535:1-65535", publish("", 1, 1, 65535, Protocol::Tcp)),
        ] {
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            ":",
            "80:",
            "x",
            "0",
            "65536",
            "80:0",
            "+80",
            "-80",
            "90-80",
            "80/",
            "80/icmp",
            "8000-8002:80-81",
            "8000-8001:80",
            "1.2.3:80:80",
            "localhost:80:80",
            "::1:80:80",
            "[::1]80:80",
            "[::1]:80",
            "1:2:3:4",
            "80:80/tcp/udp",
        ] {
            assert!(text.parse::<Publish>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_port_of_the_host_is_published_once() {
        let all = |texts: &[&str]| {
            parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(all(&["80:80", "80:80"]).unwrap().len(), 1);
        assert_eq!(all(&["80", "80"]).unwrap().len(), 2);
        assert_eq!(all(&["80:80", "80:80/udp", "81:80"]).unwrap().len(), 3);
        assert_eq!(all(&["127.0.0.1:80:80", "127.0.0.2:80:80", "[::1]:80:80"]).unwrap().len(), 3);
        for wrong in [
            ["80:80", "80:81"],
            ["80:80", "127.0.0.1:80:80"],
            ["0.0.0.0:80:80", "127.0.0.1:80:80"],
            ["80-90:80-90", "85:1"],
            ["65535:1", "65530-65535:1-6"],
        ] {
            assert!(all(&wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,30}", ports in "[0-9:/\\[\\]a-z.-]{0,30}") {
            let _ = text.parse::<Publish>();
            let _ = ports.parse::<Publish>();
        }

        #[test]
        fn reads_what_it_writes(
            host in prop::option::of(1u16..60000),
            container in 1u16..60000,
            count in 1u16..5000,
            ip in prop::option::of(any::<IpAddr>()),
        ) {
            let publish =
                Publish { host_ip: ip, host, container, count, protocol: Protocol::Udp };
            prop_assert_eq!(publish.to_string().parse(), Ok(publish));
        }
    }
}
