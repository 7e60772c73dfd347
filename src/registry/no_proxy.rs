//! Which hosts are asked without a proxy: `NO_PROXY`, as Go reads it and therefore Podman.
//!
//! Host names count with all that is below them; with a leading `.` or `*.`, only what is below. Addresses,
//! networks (`10.0.0.0/8`), `*` for all; a port after any but the last two.

use std::net::IpAddr;

use ipnet::IpNet;

/// The hosts, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    All,
    Network(IpNet),
    Address { address: IpAddr, port: Option<u16> },
    Name { name: String, itself: bool, port: Option<u16> },
}

impl NoProxy {
    /// Reads a list with commas between its entries; what makes no sense is passed over, as in Go.
    pub(super) fn add(&mut self, list: &str) {
        self.0.extend(list.split(',').filter_map(|entry| Entry::read(entry.trim())));
    }

    /// Whether `host` (an address without brackets) is asked directly at `port`.
    pub(super) fn has(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let address: Option<IpAddr> = host.parse().ok();
        self.0.iter().any(|entry| entry.has(host, address, port))
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = text.parse() {
            return Some(Self::Network(network));
        }
        let (host, port) = with_port(&text);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = host.parse() {
            return Some(Self::Address { address, port });
        }
        let below = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
        let name = below.unwrap_or(host);
        let named = !name.is_empty();
        named.then(|| Self::Name { name: name.to_owned(), itself: below.is_none(), port })
    }

    fn has(&self, host: &str, of_host: Option<IpAddr>, at: u16) -> bool {
        let suits = |port: &Option<u16>| port.is_none_or(|port| port == at);
        match self {
            Self::All => true,
            Self::Network(network) => of_host.is_some_and(|address| network.contains(&address)),
            Self::Address { address, port } => of_host == Some(*address) && suits(port),
            Self::Name { name, itself, port } => {
                let below =
                    host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (below || (*itself && host == name)) && suits(port)
            }
        }
    }
}

/// A port is told from the end of an address by brackets, or by there being one colon only.
fn with_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_networks() {
        let direct = |list: &str, host: &str, port: u16| {
            let mut hosts = NoProxy::default();
            hosts.add(list);
            hosts.has(host, port)
        };
        for (list, host, port, is_direct) in [
            ("r.io", "r.io", 443, true),
            ("r.io", "R.IO.", 443, true),
            ("r.io", "a.r.io", 443, true),
            ("r.io", "other.io", 443, false),
            ("r.io", "ar.io", 443, false),
            (".r.io", "r.io", 443, false),
            ("*.r.io", "r.io", 443, false),
            (".r.io,*.q.io", "a.q.io", 443, true),
            ("a.io, r.io:5000", "r.io", 5000, true),
            ("a.io, r.io:5000", "r.io", 443, false),
            ("10.1.2.3", "10.1.2.3", 5000, true),
            ("10.1.2.3:80", "10.1.2.3", 5000, false),
            ("10.0.0.0/8", "10.1.2.3", 5000, true),
            ("10.0.0.0/8", "11.1.2.3", 5000, false),
            ("fd00::/8", "fd00::1", 443, true),
            ("[fd00::1]:443", "fd00::1", 443, true),
            ("[fd00::1]:443", "fd00::1", 5000, false),
            ("fd00::1", "fd00::1", 5000, true),
            ("*", "anything", 1, true),
            ("", "r.io", 443, false),
            (",:80,.,*.", "r.io", 80, false),
        ] {
            assert_eq!(direct(list, host, port), is_direct, "{list:?} {host}:{port}");
        }
    }
}
