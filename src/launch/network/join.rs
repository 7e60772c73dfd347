//! A container's way into its network: what its flags ask for, checked; the namespace it enters;
//! its files of names.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::launch::args::NetworkFlags;
use crate::launch::isolation::namespaces as isolation;
use crate::launch::lifecycle::containers;
use crate::launch::network::attachment::Attachment;
use crate::launch::network::error::Error;
use crate::launch::network::mode::{Attach, DEFAULT, Mode};
use crate::launch::network::names::{self, InvalidName, Names, Surroundings};
use crate::launch::network::namespace::Namespace;
use crate::launch::network::pasta::{self, Pasta};
use crate::launch::network::publish::{self, Publish};
use crate::launch::network::{Attached, Setup, choose_ports, host, set_up};
use crate::launch::place::Place;
use crate::model::{ContainerId, Scope};

/// Where systemd-resolved says whom it asks itself (systemd-resolved.service(8)).
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The files of names, beside a container's record.
pub(crate) const HOSTS: &str = "hosts";
pub(crate) const RESOLVER: &str = "resolv.conf";

/// What the flags ask for, checked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) mode: Mode,
    pub(crate) ports: Vec<Publish>,
    /// Nothing was said, not even an address: a bridge, or for an ordinary user pasta.
    is_default: bool,
    names: Names,
}

/// Why flags do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be used together with --network={1}")]
pub(crate) struct Incompatible(&'static str, &'static str);

impl Asked {
    /// # Errors
    /// All that can be wrong with the flags, but for networks and containers that are not there.
    pub(crate) fn read(flags: &NetworkFlags) -> Result<Self, Error> {
        let mode = Mode::parse(flags)?;
        let names = Names::parse(flags)?;
        let ports = publish::parse(&flags.publish)?;
        if matches!(mode, Mode::Container(_)) {
            // Its names are the other container's.
            let other = "container:NAME";
            if names.no_hosts {
                return Err(Incompatible("--no-hosts", other).into());
            }
            if !names.are_default() {
                return Err(Incompatible("--add-host or --dns", other).into());
            }
        }
        if mode == Mode::None && names.resolver.as_ref().is_some_and(|dns| !dns.servers.is_empty())
        {
            return Err(Incompatible("--dns", "none").into());
        }
        let plain = Attach { network: DEFAULT.to_owned(), ..Attach::default() };
        let is_plain = matches!(&mode, Mode::Bridge(networks) if *networks == [plain]);
        let is_default = flags.network.is_empty() && is_plain;
        Ok(Self { mode, ports, is_default, names })
    }

    /// Whether ports of the host can lead there.
    pub(crate) fn can_publish(&self) -> bool {
        matches!(self.mode, Mode::Bridge(_) | Mode::Pasta(_))
    }
}

/// Flags with the ports of the host that they leave open chosen. On networks where nothing can be
/// published, that is said, as Podman does.
pub(crate) fn settled(flags: &NetworkFlags) -> Result<NetworkFlags, Error> {
    let mut asked = Asked::read(flags)?;
    if !asked.ports.is_empty() && !asked.can_publish() {
        let mode = flags.network.first().map_or("", String::as_str);
        eprintln!("Port mappings have been discarded: --network={mode} has none");
        asked.ports.clear();
    }
    let publish = choose_ports(asked.ports)?.iter().map(ToString::to_string).collect();
    Ok(NetworkFlags { publish, ..flags.clone() })
}

/// The network that a container is started in.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) kind: Kind,
    pub(crate) files: Files,
}

/// The texts of `/etc/hosts` and `/etc/resolv.conf`; `None`: the image's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    pub(crate) hosts: Option<String>,
    pub(crate) resolver: Option<String>,
}

/// Which namespace that is.
#[derive(Debug)]
pub(crate) enum Kind {
    Host,
    /// A new one that the runtime makes.
    None,
    /// Somebody else's.
    Shared(Namespace),
    /// That of the container's pod.
    Pod(Namespace),
    Own(Box<Attached>),
    /// A user's own, until this is dropped.
    Pasta(Pasta),
}

impl Joined {
    /// How the runtime comes by the namespace, for a container whose users are `mapped`: who is root
    /// of those only cannot enter what is somebody else's.
    pub(crate) fn namespace(&self, mapped: bool) -> isolation::Namespace {
        match &self.kind {
            Kind::Shared(_) if mapped => isolation::Namespace::Host,
            Kind::Host => isolation::Namespace::Host,
            Kind::None => isolation::Namespace::Own,
            Kind::Shared(namespace) | Kind::Pod(namespace) => {
                isolation::Namespace::At(namespace.inherited())
            }
            Kind::Own(attached) => isolation::Namespace::At(attached.inherited()),
            Kind::Pasta(pasta) => isolation::Namespace::At(pasta.inherited()),
        }
    }

    /// The process that serves it, where it is one.
    pub(crate) fn pasta(&mut self) -> Option<&mut Pasta> {
        match &mut self.kind {
            Kind::Pasta(pasta) => Some(pasta),
            _ => None,
        }
    }

    /// Whether it is the container's own, or its pod's.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.kind, Kind::None | Kind::Own(_) | Kind::Pod(_) | Kind::Pasta(_))
    }

    /// Whether the runtime is to make a new one.
    pub(crate) fn is_to_be_made(&self) -> bool {
        matches!(self.kind, Kind::None)
    }

    /// The namespace to enter, where it is there already.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::Host | Kind::None => None,
            Kind::Shared(namespace) | Kind::Pod(namespace) => Some(namespace.descriptor()),
            Kind::Own(attached) => Some(attached.descriptor()),
            Kind::Pasta(pasta) => Some(pasta.descriptor()),
        }
    }

    /// Takes this process into a network that is somebody else's, so that what it starts meanwhile
    /// is in it ([`Self::namespace`], `mapped`). An ordinary user's launcher stays there: the way
    /// back is barred, and it needs no network itself.
    pub(crate) fn lend(&self, place: &Place) -> Result<Option<Lent>, Error> {
        let Kind::Shared(namespace) = &self.kind else { return Ok(None) };
        let back = match place.scope {
            Scope::System => Some(Namespace::open(Path::new("/proc/self/ns/net"))?),
            Scope::User => None,
        };
        namespace.enter()?;
        Ok(Some(Lent { back }))
    }

    /// Undoes what was set up for the container alone.
    pub(crate) fn end(self, place: &Place) -> Result<(), Error> {
        match self.kind {
            Kind::Own(attached) => attached.end(place),
            _ => Ok(()),
        }
    }
}

/// This process is in a network of others, until this is dropped.
#[derive(Debug)]
pub(crate) struct Lent {
    back: Option<Namespace>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.back.as_ref().map(Namespace::enter) {
            eprintln!("Warning: {}, ignoring", crate::model::failure::chain(&error));
        }
    }
}

/// The host name of a container that was given none: on the host's network, the host's.
pub(crate) fn hostname(kind: &Mode, own: &ContainerId) -> String {
    match kind {
        Mode::Host => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        _ => own.short().to_owned(),
    }
}

/// Has the network that `asked` says, for an owner that is found on it by `name`. What is made for it
/// belongs to the user namespace `users`, where there is one.
pub(crate) fn join(
    place: &Place,
    asked: &Asked,
    owner: &ContainerId,
    name: &str,
    hostname: &str,
    users: Option<BorrowedFd<'_>>,
) -> Result<Joined, Error> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    match &asked.mode {
        Mode::Host => {
            let (hosts, resolver) = (read("/etc/hosts"), read("/etc/resolv.conf"));
            let around = Surroundings {
                hosts: &hosts,
                resolver: &resolver,
                is_hosts: true,
                gateway: host::own_address().or(Some(Ipv4Addr::LOCALHOST.into())),
                ..Surroundings::default()
            };
            Ok(Files::write(asked, &around, &[hostname])?.of(Kind::Host))
        }
        Mode::None => {
            Ok(Files::write(asked, &Surroundings::default(), &[hostname])?.of(Kind::None))
        }
        Mode::Namespace(path) => {
            let namespace = Namespace::open(path)?;
            let (hosts, resolver) = (read("/etc/hosts"), reachable_resolver());
            let around =
                Surroundings { hosts: &hosts, resolver: &resolver, ..Surroundings::default() };
            Ok(Files::write(asked, &around, &[hostname])?.of(Kind::Shared(namespace)))
        }
        Mode::Pasta(_) if place.scope == Scope::System => Err(Error::Root),
        Mode::Pasta(options) => serve(asked, options, &[hostname, name], users),
        Mode::Bridge(_) if asked.is_default && place.scope == Scope::User => {
            serve(asked, &[], &[hostname, name], users)
        }
        Mode::Container(word) => share(place, word),
        Mode::Bridge(networks) => {
            let dns = asked.names.resolver.as_ref().map_or(&[][..], |dns| &dns.servers);
            let attached =
                set_up(place, Setup { owner, name, networks, ports: &asked.ports, dns, users })?;
            let (hosts, resolver) = (read("/etc/hosts"), reachable_resolver());
            let around = surroundings(&attached.attachment, &hosts, &resolver);
            match Files::write(asked, &around, &[hostname, name]) {
                Ok(files) => Ok(files.of(Kind::Own(Box::new(attached)))),
                Err(error) => {
                    attached.end(place)?;
                    Err(error.into())
                }
            }
        }
    }
}

impl Files {
    fn write(asked: &Asked, around: &Surroundings<'_>, own: &[&str]) -> Result<Self, InvalidName> {
        let names = &asked.names;
        let hosts = if names.no_hosts { None } else { Some(names::hosts(names, around, own)?) };
        let resolver = names.resolver.as_ref().map(|flags| names::resolver(flags, around));
        Ok(Self { hosts, resolver })
    }

    pub(crate) fn of(self, kind: Kind) -> Joined {
        Joined { kind, files: self }
    }

    /// Those that were written below `directory`, as long as they are there.
    pub(crate) fn read(directory: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
        Self { hosts: read(HOSTS), resolver: read(RESOLVER) }
    }

    /// The same, where a program looks for a name of its own that it has from elsewhere.
    pub(crate) fn knowing(&self, hostname: &str) -> Self {
        let hosts = self.hosts.as_deref().map(|hosts| names::with_name(hosts, hostname));
        Self { hosts, resolver: self.resolver.clone() }
    }

    /// Keeps them below `directory`, for those who share the network.
    pub(crate) fn keep(&self, directory: &Path) -> Result<(), Error> {
        for (name, text) in [(HOSTS, &self.hosts), (RESOLVER, &self.resolver)] {
            let Some(text) = text else { continue };
            let path = directory.join(name);
            fs::write(&path, text).map_err(|source| Error::file("write", path, source))?;
        }
        Ok(())
    }
}

/// A network of a user's own.
fn serve(
    asked: &Asked,
    options: &[String],
    own: &[&str],
    users: Option<BorrowedFd<'_>>,
) -> Result<Joined, Error> {
    let pasta = pasta::start(&asked.ports, options, users)?;
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let resolver = reachable_resolver();
    // Where the host has a server at all, wherever it listens.
    let servers = match resolver.lines().any(|line| line.starts_with("nameserver")) {
        true => vec![pasta::RESOLVER.into()],
        false => Vec::new(),
    };
    let around = Surroundings {
        hosts: &hosts,
        resolver: &resolver,
        servers,
        addresses: host::own_address().into_iter().collect(),
        ..Surroundings::default()
    };
    Ok(Files::write(asked, &around, own)?.of(Kind::Pasta(pasta)))
}

/// The other container's network, and its files of names.
fn share(place: &Place, word: &str) -> Result<Joined, Error> {
    let not_running = || Error::SharedNotRunning(word.to_owned());
    let other = containers::find(place, word).map_err(|_| not_running())?;
    let namespace = other.pid.map(Namespace::of).transpose()?.flatten().ok_or_else(not_running)?;
    let files = Files::read(&place.records().directory(&other.id));
    Ok(files.of(Kind::Shared(namespace)))
}

/// The host's resolver, as one that does not share its loopback can use it.
fn reachable_resolver() -> String {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if names::all_on_loopback(&text) && Path::new(BEHIND_RESOLVED).exists() {
        return fs::read_to_string(BEHIND_RESOLVED).unwrap_or(text);
    }
    text
}

/// What is around a container on bridges.
fn surroundings<'a>(
    attachment: &Attachment,
    hosts: &'a str,
    resolver: &'a str,
) -> Surroundings<'a> {
    let options = &attachment.options;
    let members = attachment.networks.iter();
    let status = members.clone().filter_map(|member| attachment.status.get(&member.key));
    let networks = members.filter_map(|member| options.network_info.get(&member.key));
    let with_way_out = networks.filter(|network| !network.internal);
    let gateways = with_way_out.flat_map(|network| &network.subnets).map(|subnet| subnet.gateway);
    let gateways: Vec<_> = gateways.collect();
    let mut domains: Vec<String> = Vec::new();
    for domain in status.clone().flat_map(|one| one.dns_search_domains.iter().flatten()) {
        if !domains.contains(domain) {
            domains.push(domain.clone());
        }
    }
    Surroundings {
        hosts,
        resolver,
        is_hosts: false,
        addresses: attachment.addresses().collect(),
        gateway: gateways.iter().find(|ip| ip.is_ipv4()).or(gateways.first()).copied(),
        servers: status.flat_map(|one| one.dns_server_ips.iter().flatten()).copied().collect(),
        domains,
    }
}
