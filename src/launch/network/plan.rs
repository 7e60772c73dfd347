//! From what an owner wants to what netavark is told: addresses, interfaces, routes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::launch::network::Setup;
use crate::launch::network::error::Error;
use crate::launch::network::mode::{InvalidNetwork, Mac};
use crate::launch::network::netavark::{Options, PerNetwork, PortMapping, key};
use crate::launch::network::networks::Network;
use crate::launch::network::subnet::lease;

/// The option of a network that says how much its default route is preferred: the lower, the more.
const METRIC: &str = "metric";
/// That of the first network (netavark's own default is the same for all).
const FIRST_METRIC: usize = 100;

/// `networks` are those of the setup, in the same order; `used` the addresses that others have.
pub(crate) fn options(
    setup: &Setup<'_>,
    networks: &[Network],
    used: &BTreeSet<IpAddr>,
) -> Result<Options, Error> {
    let mut interfaces = interfaces(setup)?;
    let mut options = Options {
        container_id: setup.owner.clone(),
        container_name: setup.name.to_owned(),
        port_mappings: (!setup.ports.is_empty())
            .then(|| setup.ports.iter().map(PortMapping::from).collect()),
        networks: BTreeMap::new(),
        network_info: BTreeMap::new(),
        dns_servers: (!setup.dns.is_empty()).then(|| setup.dns.to_vec()),
    };
    for (nth, (attach, network)) in setup.networks.iter().zip(networks).enumerate() {
        let static_ips = lease(&network.name, &network.subnets, &attach.ips, setup.name, used)?;
        let Some(first) = static_ips.first() else { continue };
        let mut aliases = attach.aliases.clone();
        aliases.push(setup.owner.short().to_owned());
        let per_network = PerNetwork {
            static_mac: attach.mac.unwrap_or_else(|| Mac::of(*first)),
            static_ips,
            aliases,
            interface_name: interfaces.remove(0),
        };
        let key = key(network);
        let mut network = Network { name: key.clone(), ..network.clone() };
        // Traffic to elsewhere leaves by the first.
        let metric = || (FIRST_METRIC + nth).to_string();
        network.options.entry(METRIC.to_owned()).or_insert_with(metric);
        if options.networks.insert(key.clone(), per_network).is_some() {
            return Err(InvalidNetwork::Twice(attach.network.clone()).into());
        }
        options.network_info.insert(key, network);
    }
    Ok(options)
}

/// The interfaces' names: those asked for, else `eth0` and so on.
fn interfaces(setup: &Setup<'_>) -> Result<Vec<String>, Error> {
    let asked = setup.networks.iter().filter_map(|attach| attach.interface.as_ref());
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for name in asked {
        if !taken.insert(name.clone()) {
            return Err(InvalidNetwork::Twice(name.clone()).into());
        }
    }
    let mut free = (0..).map(|number| format!("eth{number}")).filter(|name| !taken.contains(name));
    let names =
        setup.networks.iter().map(|attach| attach.interface.clone().or_else(|| free.next()));
    Ok(names.flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::network::mode::Attach;
    use crate::launch::network::networks::Networks;
    use crate::launch::network::networks::Wanted;

    fn networks(names: &[&str]) -> Vec<Network> {
        let state = tempfile::tempdir().unwrap();
        let networks = Networks::open(state.path());
        names.iter().map(|name| networks.make(Wanted::named(name)).unwrap()).collect()
    }

    fn attach(network: &str, interface: Option<&str>) -> Attach {
        Attach {
            network: network.into(),
            interface: interface.map(str::to_owned),
            ..Attach::default()
        }
    }

    #[test]
    fn each_network_has_an_interface_and_the_first_the_way_out() {
        let networks = networks(&["a", "b", "c"]);
        let attach = [attach("a", Some("eth1")), attach("b", None), attach("c", None)];
        let owner = "a".repeat(64).parse().unwrap();
        let ports = ["8080:80".parse().unwrap()];
        let setup = Setup {
            owner: &owner,
            name: "web",
            networks: &attach,
            ports: &ports,
            dns: &[],
            users: None,
        };
        let options = options(&setup, &networks, &BTreeSet::new()).unwrap();
        let of = |nth: usize| {
            let key = key(&networks[nth]);
            (&*options.networks[&key].interface_name, &*options.network_info[&key].options[METRIC])
        };
        assert_eq!((of(0), of(1), of(2)), (("eth1", "100"), ("eth0", "101"), ("eth2", "102")));
        assert_eq!(options.port_mappings.as_ref().unwrap()[0].host_port, 8080);
        let first = &options.networks[&key(&networks[0])];
        assert_eq!(first.static_mac, Mac::of(first.static_ips[0]));
        assert_eq!(first.aliases, ["a".repeat(12)]);
        let text = serde_json::to_value(&options).unwrap();
        assert_eq!(text["network_info"][key(&networks[0])]["name"], key(&networks[0]));
    }

    #[test]
    fn two_interfaces_have_two_names() {
        let networks = networks(&["a", "b"]);
        let attach = [attach("a", Some("x")), attach("b", Some("x"))];
        let owner = "a".repeat(64).parse().unwrap();
        let setup = Setup {
            owner: &owner,
            name: "web",
            networks: &attach,
            ports: &[],
            dns: &[],
            users: None,
        };
        assert!(options(&setup, &networks, &BTreeSet::new()).is_err());
    }
}
