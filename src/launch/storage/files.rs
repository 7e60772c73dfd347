//! The files of ours that a container sees: its hosts, resolver and name.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::launch::Error;
use crate::launch::args::Network;
use crate::launch::storage::mounts::Bound;

/// Writes them below `bundle`; each with where it is bound. On the host's network, names resolve as
/// on the host.
pub(crate) fn write(bundle: &Path, hostname: &str, network: Network) -> Result<Vec<Bound>, Error> {
    let of_host = |path| fs::read_to_string(path).unwrap_or_default();
    let (hosts, resolver) = match network {
        Network::Host => (of_host("/etc/hosts"), of_host("/etc/resolv.conf")),
        Network::None => (String::new(), String::new()),
    };
    let files = [
        ("hosts", "/etc/hosts", with_name(&hosts, hostname)),
        ("resolv.conf", "/etc/resolv.conf", resolver),
        ("hostname", "/etc/hostname", format!("{hostname}\n")),
    ];
    let mut bound = Vec::new();
    for (name, target, text) in files {
        let path = bundle.join(name);
        fs::write(&path, text).map_err(|source| Error::file("write", &path, source))?;
        bound.push(Bound { source: path, target: target.into() });
    }
    Ok(bound)
}

/// Adds what a program may count on: localhost, and the container's own name.
fn with_name(hosts: &str, hostname: &str) -> String {
    let has = |wanted: &str| {
        hosts.lines().filter_map(|line| line.split('#').next()).any(|line| {
            let mut words = line.split_ascii_whitespace();
            let is_address = words.next().is_some_and(|word| word.parse::<IpAddr>().is_ok());
            is_address && words.any(|word| word == wanted)
        })
    };
    let mut text = hosts.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !has("localhost") {
        text.push_str("127.0.0.1 localhost\n::1 localhost\n");
    }
    if !has(hostname) {
        text.push_str(&format!("127.0.1.1 {hostname}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_localhost_and_the_name() {
        assert_eq!(with_name("", "web"), "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 web\n");
        let host = "127.0.0.1 localhost\n10.0.0.1 web # this one";
        assert_eq!(with_name(host, "web"), format!("{host}\n"));
        assert!(with_name("# 10.0.0.1 web\n", "web").ends_with("127.0.1.1 web\n"));
    }
}
