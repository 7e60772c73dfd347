//! Networks and ports as `ps`, `port` and `inspect` show them, in Podman's words.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value, json};

use crate::launch::Error;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::network::attachment::{Attachment, Member};
use crate::launch::network::publish::{self, Protocol, Publish};
use crate::launch::network::{self, netavark};
use crate::launch::place::Place;
use crate::launch::pod::store::Pods;
use crate::store::containers::Record;

/// The ports that lead to a container: its own, or its pod's; those of one that does not run are
/// those that it is to have.
pub(crate) fn ports(place: &Place, record: &Record) -> Result<Vec<Publish>, Error> {
    if let Some(attachment) = attachment(place, record)? {
        return Ok(attachment.ports);
    }
    let texts = match &record.pod {
        Some(pod) => Pods::open(place).get(pod)?.map(|pod| pod.network.publish),
        None => {
            let definition = Definition::read(place, &record.id).ok();
            definition.map(|definition| definition.create.network.publish)
        }
    };
    Ok(publish::parse(&texts.unwrap_or_default()).map_err(network::Error::from)?)
}

/// The network of a container: its own, or its pod's; `None` where it is neither's.
fn attachment(place: &Place, record: &Record) -> Result<Option<Attachment>, Error> {
    let owner = record.pod.as_ref().unwrap_or(&record.id);
    let attachment = network::attachment(place, owner)?;
    Ok(attachment.filter(Attachment::is_in_use))
}

fn host_ip(publish: &Publish) -> IpAddr {
    publish.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

/// As `ps` shows them: `0.0.0.0:8080->80/tcp, 0.0.0.0:9000-9009->9000-9009/udp`.
pub(crate) fn summary(ports: &[Publish]) -> String {
    let range = |first: u16, count: u16| match count {
        0 | 1 => first.to_string(),
        count => format!("{first}-{}", first + (count - 1)),
    };
    let one = |publish: &Publish| {
        let Publish { host, container, count, protocol, .. } = publish;
        let host = host.map(|host| range(host, *count)).unwrap_or_default();
        let address = bracketed(host_ip(publish));
        format!("{address}:{host}->{}/{protocol}", range(*container, *count))
    };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// As `ps --format json` has them.
pub(crate) fn list(ports: &[Publish]) -> Value {
    if ports.is_empty() {
        return Value::Null;
    }
    let one = |publish: &Publish| {
        json!({
            "host_ip": publish.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            "container_port": publish.container,
            "host_port": publish.host,
            "range": publish.count,
            "protocol": publish.protocol,
        })
    };
    ports.iter().map(one).collect()
}

fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// As `port` shows them: `80/tcp -> 0.0.0.0:8080`, a line for each.
pub(crate) fn lines(ports: &[Publish]) -> impl Iterator<Item = String> {
    ports.iter().flat_map(|publish| {
        let address = bracketed(host_ip(publish));
        let protocol = publish.protocol;
        publish
            .pairs()
            .map(move |(host, inside)| format!("{inside}/{protocol} -> {address}:{host}"))
    })
}

/// The places of the host that lead to one port of the container: `0.0.0.0:8080`.
pub(crate) fn hosts_of(
    ports: &[Publish],
    port: u16,
    protocol: Protocol,
) -> impl Iterator<Item = String> {
    let of = ports.iter().filter(move |publish| publish.protocol == protocol);
    of.flat_map(move |publish| {
        let address = bracketed(host_ip(publish));
        let pairs = publish.pairs().filter(move |(_, inside)| *inside == port);
        pairs.map(move |(host, _)| format!("{address}:{host}"))
    })
}

/// What `inspect` has under `NetworkSettings`.
pub(crate) fn settings(place: &Place, record: &Record) -> Value {
    // What cannot be read keeps nobody from seeing the rest.
    let attachment = attachment(place, record).unwrap_or_default();
    let ports = ports(place, record).unwrap_or_default();
    let mut networks = Map::new();
    for member in attachment.iter().flat_map(|attachment| &attachment.networks) {
        if let Some(attachment) = &attachment {
            networks.insert(member.network.clone(), endpoint(attachment, member));
        }
    }
    let mut settings = match networks.values().next() {
        // Podman has the addresses of the only network here, too.
        Some(only) if networks.len() == 1 => only.clone(),
        _ => empty(),
    };
    settings["Ports"] = bindings(&ports);
    settings["Networks"] = Value::Object(networks);
    let process = record.pid.filter(|process| process.is_alive());
    let key = process.map(|process| format!("/proc/{}/ns/net", process.pid)).unwrap_or_default();
    settings["SandboxKey"] = key.into();
    settings
}

fn empty() -> Value {
    json!({
        "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "MacAddress": "", "IPv6Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
    })
}

/// A container's place in one network.
fn endpoint(attachment: &Attachment, member: &Member) -> Value {
    let mut value = empty();
    value["NetworkID"] = member.network.clone().into();
    let options = attachment.options.networks.get(&member.key);
    let aliases = options.map(|options| options.aliases.as_slice()).unwrap_or_default();
    value["Aliases"] = json!(aliases);
    let status = attachment.status.get(&member.key);
    for interface in status.into_iter().flat_map(|status| status.interfaces.values()) {
        value["MacAddress"] = interface.mac_address.clone().into();
        for address in interface.subnets.iter().flatten() {
            add_address(&mut value, address);
        }
    }
    value
}

fn add_address(value: &mut Value, address: &netavark::Address) {
    let keys = match address.ipnet.addr() {
        IpAddr::V4(_) => ["IPAddress", "IPPrefixLen", "Gateway"],
        IpAddr::V6(_) => ["GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway"],
    };
    value[keys[0]] = address.ipnet.addr().to_string().into();
    value[keys[1]] = address.ipnet.prefix_len().into();
    value[keys[2]] = address.gateway.map(|ip| ip.to_string()).unwrap_or_default().into();
}

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`
pub(crate) fn bindings(ports: &[Publish]) -> Value {
    let mut bindings: Map<String, Value> = Map::new();
    for publish in ports {
        for (host, inside) in publish.pairs() {
            let binding = json!({
                "HostIp": host_ip(publish).to_string(),
                "HostPort": host.to_string(),
            });
            let entry = bindings.entry(format!("{inside}/{}", publish.protocol));
            if let Value::Array(all) = entry.or_insert_with(|| json!([])) {
                all.push(binding);
            }
        }
    }
    Value::Object(bindings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(texts: &[&str]) -> Vec<Publish> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn ports_are_shown_as_podman_does() {
        let ports = ports(&["8080:80", "[::1]:9000-9001:53-54/udp", "127.0.0.1:81:80"]);
        assert_eq!(
            summary(&ports),
            "0.0.0.0:8080->80/tcp, [::1]:9000-9001->53-54/udp, 127.0.0.1:81->80/tcp"
        );
        let lines: Vec<String> = lines(&ports).collect();
        assert_eq!(
            lines,
            [
                "80/tcp -> 0.0.0.0:8080",
                "53/udp -> [::1]:9000",
                "54/udp -> [::1]:9001",
                "80/tcp -> 127.0.0.1:81"
            ]
        );
        let of: Vec<String> = hosts_of(&ports, 80, Protocol::Tcp).collect();
        assert_eq!(of, ["0.0.0.0:8080", "127.0.0.1:81"]);
        assert_eq!(bindings(&ports)["80/tcp"][1]["HostPort"], "81");
    }
}
