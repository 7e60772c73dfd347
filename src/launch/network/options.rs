//! Options of networks (podman-network-create(1), `--opt`). Pure.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::launch::network::networks::LeaseRange;
use crate::launch::network::subnet;

/// Why a network cannot be made so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidOption {
    #[error("--{0} is given more often than --subnet")]
    More(&'static str),
    #[error("--opt {0:?} is not there: expected mtu=BYTES, metric=NUMBER, isolate=BOOL")]
    Unknown(String),
    #[error("--ip-range {0} is not in {1}")]
    Outside(String, IpNet),
    #[error("--opt isolate=true cannot be used together with --internal")]
    Isolate,
}

/// Those that netavark knows since before its version 1.4: one that it did not know would be
/// passed over.
pub(crate) fn parse(
    texts: &[String],
    internal: bool,
) -> Result<BTreeMap<String, String>, InvalidOption> {
    let mut options = BTreeMap::new();
    for text in texts {
        let unknown = || InvalidOption::Unknown(text.clone());
        let (key, value) = text.split_once('=').ok_or_else(unknown)?;
        let valid = match key {
            "mtu" => value.parse().is_ok_and(|mtu: u32| (68..=65535).contains(&mtu)),
            "metric" => value.parse::<u32>().is_ok(),
            "isolate" => value.parse::<bool>().is_ok(),
            _ => false,
        };
        if !valid {
            return Err(unknown());
        }
        if internal && text == "isolate=true" {
            // Without rules there is no isolation either.
            return Err(InvalidOption::Isolate);
        }
        options.insert(key.to_owned(), value.to_owned());
    }
    Ok(options)
}

/// Subnets with what belongs to each, told by the order.
pub(crate) fn subnets(
    subnets: &[IpNet],
    gateways: &[std::net::IpAddr],
    ranges: &[LeaseRange],
) -> Result<Vec<subnet::Wanted>, InvalidOption> {
    for (flag, count) in [("gateway", gateways.len()), ("ip-range", ranges.len())] {
        if count > subnets.len() {
            return Err(InvalidOption::More(flag));
        }
    }
    let one = |(nth, subnet): (usize, &IpNet)| {
        let range = ranges.get(nth).copied();
        if let Some(range) = range
            && !(subnet.contains(&range.start_ip) && subnet.contains(&range.end_ip))
        {
            let text = format!("{}-{}", range.start_ip, range.end_ip);
            return Err(InvalidOption::Outside(text, *subnet));
        }
        Ok(subnet::Wanted { subnet: *subnet, gateway: gateways.get(nth).copied(), range })
    };
    subnets.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let one = |text: &str, internal| parse(&[text.to_owned()], internal);
        assert_eq!(one("mtu=1400", false).unwrap()["mtu"], "1400");
        assert_eq!(one("isolate=true", false).unwrap()["isolate"], "true");
        for wrong in ["mtu", "mtu=", "mtu=1", "mtu=-5", "isolate=1", "vlan=5", "metric=x", ""] {
            assert!(one(wrong, false).is_err(), "{wrong}");
        }
        assert_eq!(one("isolate=true", true), Err(InvalidOption::Isolate));
    }

    #[test]
    fn what_belongs_to_a_subnet_is_in_it() {
        let nets = ["10.1.0.0/24".parse().unwrap()];
        let range = |text: &str| [subnet::parse_range(text).unwrap()];
        assert!(subnets(&nets, &[], &range("10.1.0.128/25")).unwrap()[0].range.is_some());
        assert!(matches!(
            subnets(&nets, &[], &range("10.2.0.0/25")),
            Err(InvalidOption::Outside(..))
        ));
        let gateways = ["10.1.0.1".parse().unwrap(), "10.1.0.2".parse().unwrap()];
        assert_eq!(subnets(&nets, &gateways, &[]), Err(InvalidOption::More("gateway")));
    }
}
