//! What `--network` and the flags beside it ask for (podman-run(1), "Network Options"). Pure.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::launch::args::NetworkFlags;
use crate::launch::lifecycle::name;

/// The network of containers that ask for none, where it may be a bridge.
pub(crate) const DEFAULT: &str = "updaterd";

/// Words of `--network` that are no names of networks.
pub(crate) const WORDS: [&str; 11] = [
    "host",
    "none",
    "bridge",
    "private",
    "default",
    "container",
    "ns",
    "pod",
    "pasta",
    "slirp4netns",
    "auto",
];

/// Whose network a container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Host,
    /// One of its own, with a loopback interface and nothing else.
    None,
    /// One of its own that pasta(1) serves, with more of its options.
    Pasta(Vec<String>),
    /// One of its own, attached to networks of this host.
    Bridge(Vec<Attach>),
    /// That of the container with this name or ID.
    Container(String),
    /// The namespace at this path.
    Namespace(PathBuf),
}

/// A network that a container is attached to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Attach {
    pub(crate) network: String,
    /// Its addresses there, at most one of each family; others are chosen.
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) mac: Option<Mac>,
    /// More names by which others on that network find it.
    pub(crate) aliases: Vec<String>,
    /// The interface's name in the container; `eth0` and so on where it is not said.
    pub(crate) interface: Option<String>,
}

/// A hardware address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Mac([u8; 6]);

/// Why flags do not say what network a container has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidNetwork {
    #[error("--network {0:?} is no network: {why}", why = why_no_name(.0))]
    Name(String),
    #[error("--network={0} has no options here: only networks have")]
    NoOptions(String),
    #[error("--network={0} cannot be used together with another network")]
    NotAlone(String),
    #[error("network {0} is named twice")]
    Twice(String),
    #[error(
        "--network {network}: {option:?} is not an option: expected ip=, ip6=, mac=, alias=, interface_name="
    )]
    Option { network: String, option: String },
    #[error("{0:?} is not an IP address")]
    Address(String),
    #[error("{0:?} is not a hardware address of one interface, such as 02:00:00:00:00:01")]
    Mac(String),
    #[error("{0:?} cannot be an alias: expected letters, digits, \"_\", \".\", \"-\"")]
    Alias(String),
    #[error("{0:?} cannot be an interface's name: at most 15 letters, digits, \"_\", \".\", \"-\"")]
    Interface(String),
    #[error("{0} is given twice for network {1}")]
    OptionTwice(&'static str, String),
    #[error("{flag} needs one network that is a bridge")]
    NeedsOneBridge { flag: &'static str },
    #[error("{flag} needs a network that is a bridge")]
    NeedsBridge { flag: &'static str },
    #[error("--network={0} needs {1} behind a colon")]
    Incomplete(&'static str, &'static str),
}

fn why_no_name(text: &str) -> &'static str {
    match text.split(':').next().unwrap_or_default() {
        "slirp4netns" => "slirp4netns is not supported, use pasta",
        "auto" | "pod" => "that word means nothing here",
        _ => "expected host, none, bridge, the name of a network, container:NAME, or ns:PATH",
    }
}

/// In Podman's words.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::None => f.write_str("none"),
            Self::Pasta(options) if options.is_empty() => f.write_str("pasta"),
            Self::Pasta(options) => write!(f, "pasta:{}", options.join(",")),
            Self::Bridge(_) => f.write_str("bridge"),
            Self::Container(container) => write!(f, "container:{container}"),
            Self::Namespace(path) => write!(f, "ns:{}", path.display()),
        }
    }
}

impl Mode {
    /// What the flags ask for; without any, the default network.
    ///
    /// # Errors
    /// All that can be wrong with them, but for networks and containers that are not there.
    pub(crate) fn parse(flags: &NetworkFlags) -> Result<Self, InvalidNetwork> {
        let mut mode = parse_values(&flags.network)?;
        let bridges = match &mut mode {
            Self::Bridge(attach) => attach.as_mut_slice(),
            _ => &mut [],
        };
        for alias in &flags.network_alias {
            let alias = parse_alias(alias)?;
            if bridges.is_empty() {
                return Err(InvalidNetwork::NeedsBridge { flag: "--network-alias" });
            }
            bridges.iter_mut().for_each(|attach| attach.aliases.push(alias.clone()));
        }
        let flag = match flags {
            NetworkFlags { ip: Some(_), .. } => "--ip",
            NetworkFlags { ip6: Some(_), .. } => "--ip6",
            NetworkFlags { mac_address: Some(_), .. } => "--mac-address",
            _ => return Ok(mode),
        };
        let [attach] = bridges else { return Err(InvalidNetwork::NeedsOneBridge { flag }) };
        let addresses = flags.ip.map(IpAddr::V4).into_iter().chain(flags.ip6.map(IpAddr::V6));
        for address in addresses {
            attach.add_ip(address)?;
        }
        if let Some(mac) = &flags.mac_address {
            attach.set_mac(mac)?;
        }
        Ok(mode)
    }

    /// The names of the networks that it is attached to.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &str> {
        let attach = match self {
            Self::Bridge(attach) => attach.as_slice(),
            _ => &[],
        };
        attach.iter().map(|attach| attach.network.as_str())
    }
}

fn parse_values(values: &[String]) -> Result<Mode, InvalidNetwork> {
    let mut attach: Vec<Attach> = Vec::new();
    for value in values {
        let (word, rest) = match value.split_once(':') {
            Some((word, rest)) => (word, Some(rest)),
            None => (value.as_str(), None),
        };
        if let Some(mode) = parse_alone(word, rest)? {
            return if values.len() == 1 { Ok(mode) } else { Err(not_alone(word)) };
        }
        // Podman takes several names in one value, where none has options.
        let names: Vec<&str> = if rest.is_some() { vec![word] } else { word.split(',').collect() };
        for name in names {
            let parsed = parse_attach(name, rest.unwrap_or_default())?;
            if attach.iter().any(|other| other.network == parsed.network) {
                return Err(InvalidNetwork::Twice(parsed.network));
            }
            attach.push(parsed);
        }
    }
    if attach.is_empty() {
        attach.push(Attach { network: DEFAULT.to_owned(), ..Attach::default() });
    }
    Ok(Mode::Bridge(attach))
}

fn not_alone(word: &str) -> InvalidNetwork {
    InvalidNetwork::NotAlone(word.to_owned())
}

/// The modes that go with no other network.
fn parse_alone(word: &str, rest: Option<&str>) -> Result<Option<Mode>, InvalidNetwork> {
    let plain = |mode| match rest {
        None => Ok(Some(mode)),
        Some(_) => Err(InvalidNetwork::NoOptions(word.to_owned())),
    };
    match word {
        "host" => plain(Mode::Host),
        "none" => plain(Mode::None),
        "pasta" => {
            let options = rest.unwrap_or_default().split(',').filter(|word| !word.is_empty());
            Ok(Some(Mode::Pasta(options.map(str::to_owned).collect())))
        }
        "container" => match rest.filter(|rest| !rest.is_empty()) {
            Some(container) => Ok(Some(Mode::Container(container.to_owned()))),
            None => Err(InvalidNetwork::Incomplete("container", "a container")),
        },
        "ns" => match rest.filter(|rest| rest.starts_with('/')) {
            Some(path) => Ok(Some(Mode::Namespace(path.into()))),
            None => Err(InvalidNetwork::Incomplete("ns", "a path from the root")),
        },
        _ => Ok(None),
    }
}

/// `NAME[:OPTION,…]`
fn parse_attach(word: &str, options: &str) -> Result<Attach, InvalidNetwork> {
    let network = match word {
        "bridge" | "private" | "default" => DEFAULT,
        word if !WORDS.contains(&word) && name::is_valid(word) => word,
        word => return Err(InvalidNetwork::Name(word.to_owned())),
    };
    let mut attach = Attach { network: network.to_owned(), ..Attach::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let unknown =
            || InvalidNetwork::Option { network: network.to_owned(), option: option.to_owned() };
        let (key, value) = option.split_once('=').ok_or_else(unknown)?;
        match key {
            "ip" | "ip6" => {
                let ip = value.parse().map_err(|_| InvalidNetwork::Address(value.to_owned()))?;
                attach.add_ip(ip)?;
            }
            "mac" => attach.set_mac(value)?,
            "alias" => attach.aliases.push(parse_alias(value)?),
            "interface_name" => attach.set_interface(value)?,
            _ => return Err(unknown()),
        }
    }
    Ok(attach)
}

/// A name that others resolve: as a name of a container (it goes into the name server's files).
fn parse_alias(text: &str) -> Result<String, InvalidNetwork> {
    let valid = name::is_valid(text);
    if valid { Ok(text.to_owned()) } else { Err(InvalidNetwork::Alias(text.to_owned())) }
}

/// Whether an interface may have this name (the kernel's rule, without what shells read as more).
pub(crate) fn is_interface(text: &str) -> bool {
    let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
    fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

impl Attach {
    fn add_ip(&mut self, ip: IpAddr) -> Result<(), InvalidNetwork> {
        if self.ips.iter().any(|other| other.is_ipv4() == ip.is_ipv4()) {
            let what = if ip.is_ipv4() { "an IPv4 address" } else { "an IPv6 address" };
            return Err(InvalidNetwork::OptionTwice(what, self.network.clone()));
        }
        self.ips.push(ip);
        Ok(())
    }

    fn set_mac(&mut self, text: &str) -> Result<(), InvalidNetwork> {
        match self.mac.replace(text.parse()?) {
            None => Ok(()),
            Some(_) => Err(InvalidNetwork::OptionTwice("a hardware address", self.network.clone())),
        }
    }

    fn set_interface(&mut self, text: &str) -> Result<(), InvalidNetwork> {
        if !is_interface(text) || text == "lo" {
            return Err(InvalidNetwork::Interface(text.to_owned()));
        }
        self.interface = Some(text.to_owned());
        Ok(())
    }
}

impl Mac {
    /// One that goes with an address, so that who takes over an address is found at once by those
    /// who remember where it was. Locally administered, and of one interface.
    pub(crate) fn of(ip: IpAddr) -> Self {
        let [a, b, c, d] = match ip {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(ip) => {
                let [.., a, b, c, d] = ip.octets();
                [a, b, c, d]
            }
        };
        Self([0x02, 0x75, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidNetwork::Mac(text.to_owned());
        let mut octets = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(invalid)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        // The lowest bit of the first says that it is of many.
        if parts.next().is_some() || octets[0] & 1 == 1 || octets == [0; 6] {
            return Err(invalid());
        }
        Ok(Self(octets))
    }
}

impl TryFrom<String> for Mac {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(values: &[&str]) -> Result<Mode, InvalidNetwork> {
        let network = values.iter().map(|value| (*value).to_owned()).collect();
        Mode::parse(&NetworkFlags { network, ..NetworkFlags::default() })
    }

    fn attach(network: &str) -> Attach {
        Attach { network: network.into(), ..Attach::default() }
    }

    #[test]
    fn modes_are_those_of_podman() {
        assert_eq!(parse(&["host"]), Ok(Mode::Host));
        assert_eq!(parse(&["none"]), Ok(Mode::None));
        assert_eq!(parse(&["container:web"]), Ok(Mode::Container("web".into())));
        assert_eq!(parse(&["ns:/run/netns/a"]), Ok(Mode::Namespace("/run/netns/a".into())));
        for default in [&[][..], &["bridge"], &["default"], &["private"], &["updaterd"]] {
            assert_eq!(parse(default), Ok(Mode::Bridge(vec![attach(DEFAULT)])), "{default:?}");
        }
        let both = Ok(Mode::Bridge(vec![attach("a"), attach("b")]));
        assert_eq!(parse(&["a,b"]), both);
        assert_eq!(parse(&["a", "b"]), both);
    }

    #[test]
    fn a_network_has_options() {
        let parsed = parse(&[
            "a:ip=10.1.0.2,ip6=fd00::2,mac=02:00:00:00:00:0A,alias=x,alias=y,interface_name=lan",
        ]);
        let wanted = Attach {
            network: "a".into(),
            ips: vec!["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            mac: Some("02-00-00-00-00-0a".parse().unwrap()),
            aliases: vec!["x".into(), "y".into()],
            interface: Some("lan".into()),
        };
        assert_eq!(parsed, Ok(Mode::Bridge(vec![wanted])));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for wrong in [
            &["host", "a"][..],
            &["a", "none"],
            &["a", "a"],
            &["host:ip=10.0.0.1"],
            &["container:"],
            &["ns:relative"],
            &["slirp4netns"],
            &["-a"],
            &["a,"],
            &["a/b"],
            &["a:ip=10.0.0"],
            &["a:ip=10.0.0.1,ip=10.0.0.2"],
            &["a:mac=01:00:00:00:00:01"],
            &["a:mac=02:00:00:00:00"],
            &["a:alias=x y"],
            &["a:alias=x\ny"],
            &["a:interface_name=lo"],
            &["a:interface_name=sixteen-letters-"],
            &["a:mtu=1"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn flags_beside_it_need_a_bridge() {
        let with = |network: &[&str]| {
            let network = network.iter().map(|value| (*value).to_owned()).collect();
            let ip = Some("10.0.0.7".parse().unwrap());
            Mode::parse(&NetworkFlags { network, ip, ..NetworkFlags::default() })
        };
        let Ok(Mode::Bridge(attach)) = with(&[]) else { panic!() };
        assert_eq!(attach[0].ips, ["10.0.0.7".parse::<IpAddr>().unwrap()]);
        for wrong in [&["host"][..], &["a", "b"], &["a:ip=10.0.0.8"]] {
            assert!(with(wrong).is_err(), "{wrong:?}");
        }
        let network_alias = vec!["x".to_owned()];
        let network = vec!["none".to_owned()];
        let flags = NetworkFlags { network, network_alias, ..NetworkFlags::default() };
        assert!(Mode::parse(&flags).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,40}", options in "[a-z6_=:.,0-9]{0,40}") {
            let _ = parse(&[&text]);
            let _ = parse(&[&format!("a:{options}")]);
        }
    }
}
