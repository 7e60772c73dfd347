//! Ports that a container serves (podman-run(1), `--expose`), and the host leading to all of them
//! (`--publish-all`).

use crate::launch::args::{ExposeFlags, NetworkFlags};
use crate::launch::network::join::Asked;
use crate::launch::network::publish::Publish;
use crate::launch::network::{Error, choose_ports};

/// Why a text names no port.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--expose {0:?}: expected PORT[-PORT][/PROTOCOL]")]
pub(crate) struct InvalidExpose(String);

/// The ports of `texts`, each leading to none of the host yet.
pub(crate) fn parse(texts: &[String]) -> Result<Vec<Publish>, InvalidExpose> {
    let port = |text: &String| match text.parse::<Publish>() {
        Ok(port) if port.host.is_none() && !text.contains(':') => Ok(port),
        _ => Err(InvalidExpose(text.clone())),
    };
    texts.iter().map(port).collect()
}

/// Where all ports are asked for, those of the flags and of the image are published at free ports of
/// the host, but for those that lead somewhere already. What an image says that is no port is left
/// out: others start such an image.
pub(crate) fn publish_all(
    network: &mut NetworkFlags,
    expose: &ExposeFlags,
    image: &[String],
) -> Result<(), Error> {
    let asked = Asked::read(network)?;
    if !expose.publish_all || !asked.can_publish() {
        return Ok(());
    }
    let published = asked.ports;
    let of_image = image.iter().filter_map(|text| parse(std::slice::from_ref(text)).ok()).flatten();
    let mut wanted: Vec<Publish> = Vec::new();
    for port in parse(&expose.expose)?.into_iter().chain(of_image).flat_map(singly) {
        if !published.iter().chain(&wanted).any(|other| other.leads_to(&port)) {
            wanted.push(port);
        }
    }
    network.publish.extend(choose_ports(wanted)?.iter().map(ToString::to_string));
    Ok(())
}

fn singly(range: Publish) -> impl Iterator<Item = Publish> {
    let ports = (0..range.count).map(move |n| range.container + n);
    ports.map(move |container| Publish { container, count: 1, ..range })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::network::publish;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_port_is_no_way_from_the_host() {
        for wrong in ["80:80", "", "x", "0", "80/icmp", "127.0.0.1::80"] {
            assert_eq!(parse(&words(&[wrong])), Err(InvalidExpose(wrong.to_owned())));
        }
        assert_eq!(parse(&words(&["80", "90-92/udp"])).unwrap().len(), 2);
    }

    #[test]
    fn each_port_leads_somewhere_once() {
        let mut network = NetworkFlags { publish: words(&["1234:81"]), ..NetworkFlags::default() };
        let mut expose = ExposeFlags { publish_all: false, expose: words(&["80-82"]) };
        publish_all(&mut network, &expose, &words(&["80/tcp"])).unwrap();
        assert_eq!(network.publish.len(), 1);
        expose.publish_all = true;
        publish_all(&mut network, &expose, &words(&["80/tcp", "80/udp", "junk"])).unwrap();
        let all = publish::parse(&network.publish).unwrap();
        let ports: Vec<_> = all.iter().map(|port| (port.container, port.protocol.name())).collect();
        assert_eq!(ports, [(81, "tcp"), (80, "tcp"), (82, "tcp"), (80, "udp")]);
        assert!(all.iter().all(|port| port.host.is_some()));
    }
}
