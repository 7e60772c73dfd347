//! Whom a container reaches, and by whom it is reached: networks of this host, addresses, published
//! ports and names.
//!
//! [`set_up`] makes a network namespace for an owner (a container, or whoever has containers that
//! share one), and keeps a record of it ([`attachment`]), by which [`reconcile`] undoes what a
//! launcher that was killed has left. The work on interfaces and the firewall is [`netavark`]'s;
//! which addresses are given to whom is decided here ([`subnet`]).

pub(crate) mod attachment;
mod error;
mod host;
pub(crate) mod join;
pub(crate) mod mode;
mod names;
pub(crate) mod namespace;
mod netavark;
pub(crate) mod networks;
pub(crate) mod options;
pub(crate) mod pasta;
mod plan;
mod program;
pub(crate) mod expose;
pub(crate) mod publish;
mod reserve;
pub(crate) mod show;
pub(crate) mod subnet;
pub(crate) mod users;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

pub(crate) use error::Error;

use attachment::{Attachment, Attachments, Member};
use mode::{Attach, DEFAULT};
use namespace::Namespace;
use netavark::Netavark;
use networks::{Network, Networks, is_v4};
use publish::Publish;
use reserve::{Families, Reserved, reserve};

use crate::disk::Lock;
use crate::launch::place::Place;
use crate::model::failure::chain;
use crate::model::{ContainerId, Scope};
use crate::store::containers::Process;

pub(crate) use reserve::choose as choose_ports;

/// A network namespace that somebody wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) owner: &'a ContainerId,
    /// By which it is found on its networks; the first 12 digits of the owner's ID are another.
    pub(crate) name: &'a str,
    pub(crate) networks: &'a [Attach],
    /// Each with its port of the host ([`choose_ports`]).
    pub(crate) ports: &'a [Publish],
    /// Whom the networks' name server asks for names that are not its own; none: the host's.
    pub(crate) dns: &'a [std::net::IpAddr],
    /// The user namespace that it belongs to, where that is not ours.
    pub(crate) users: Option<BorrowedFd<'a>>,
}

/// A network namespace that was set up, kept by this process. [`Attached::end`] undoes it.
#[derive(Debug)]
pub(crate) struct Attached {
    namespace: Namespace,
    _ports: Reserved,
    pub(crate) attachment: Attachment,
}

/// Makes a network namespace, attaches it to networks, and publishes its ports. Where that fails,
/// nothing stays.
pub(crate) fn set_up(place: &Place, setup: Setup<'_>) -> Result<Attached, Error> {
    if place.scope != Scope::System {
        return Err(Error::NotRoot);
    }
    let attachments = Attachments::open(&place.run);
    let netavark = Netavark::find(attachments.netavark()?)?;
    let namespace = Namespace::make(setup.users)?;
    let _lock = attachments.lock()?;
    let others = clear_stale(&attachments, &netavark)?;
    let known = Networks::open(&place.state);
    let networks = setup.networks.iter().map(|attach| known.attachable(&attach.network));
    let networks = networks.collect::<Result<Vec<_>, _>>()?;
    netavark.require_name_server(&networks)?;
    let ports = reserve(setup.ports, families(&networks))?;
    let options = plan::options(&setup, &networks, &attachment::addresses(&others))?;
    let mut attachment = Attachment {
        owner: setup.owner.clone(),
        name: setup.name.to_owned(),
        holder: Process::current().map_err(|error| Error::system("find myself", error))?,
        inhabitant: None,
        ports: setup.ports.to_vec(),
        networks: networks.iter().map(Member::of).collect(),
        options,
        status: netavark::Status::new(),
    };
    attachments.write(&attachment)?;
    let done = netavark.set_up(&namespace.path(), &attachment.options).and_then(|status| {
        attachment.status = status;
        attachments.write(&attachment)
    });
    if let Err(error) = done {
        if let Err(second) = clear(&attachments, &netavark, &attachment, Some(namespace)) {
            eprintln!("Warning: {}, ignoring", chain(&second));
        }
        return Err(error);
    }
    Ok(Attached { namespace, _ports: ports, attachment })
}

/// The networks of this host.
pub(crate) fn networks(place: &Place) -> Networks {
    Networks::open(&place.state)
}

/// Keeps others from changing networks, and from using them. Waits for it.
pub(crate) fn lock(place: &Place) -> Result<Lock, Error> {
    Attachments::open(&place.run).lock()
}

/// All networks; the default one is always among them.
pub(crate) fn all(place: &Place) -> Result<Vec<Network>, Error> {
    find(place, DEFAULT)?;
    networks(place).all()
}

/// The network that `word` names: by name, ID, or the beginning of an ID.
///
/// # Errors
/// Where there is none, or several.
pub(crate) fn find(place: &Place, word: &str) -> Result<Network, Error> {
    let networks = networks(place);
    if word == DEFAULT && networks.get(word)?.is_none() {
        let _lock = lock(place)?;
        return networks.attachable(word);
    }
    networks.find(word)
}

/// Which addresses lead into one of these networks.
fn families(networks: &[Network]) -> Families {
    let has = |v4| {
        let subnets = networks.iter().filter(|network| !network.internal);
        subnets.flat_map(|network| &network.subnets).any(|subnet| is_v4(&subnet.subnet) == v4)
    };
    Families { v4: has(true), v6: has(false) }
}

impl Attached {
    /// By which the processes enter it that inherit its descriptor.
    pub(crate) fn inherited(&self) -> PathBuf {
        self.namespace.inherited()
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.namespace.descriptor()
    }

    /// Undoes it: rules, addresses, names, and a bridge that nobody else uses.
    pub(crate) fn end(self, place: &Place) -> Result<(), Error> {
        let attachments = Attachments::open(&place.run);
        let netavark = Netavark::find(attachments.netavark()?)?;
        let _lock = attachments.lock()?;
        clear(&attachments, &netavark, &self.attachment, Some(self.namespace))
    }
}

/// The record of an owner's network; `None` where it has none of its own.
pub(crate) fn attachment(place: &Place, owner: &ContainerId) -> Result<Option<Attachment>, Error> {
    Attachments::open(&place.run).get(owner)
}

/// Notes who is in an owner's network, if it has one of its own: it is in use as long as that process
/// lives, even where its supervisor does not. Its supervisor says so.
pub(crate) fn inhabit(place: &Place, owner: &ContainerId, process: Process) -> Result<(), Error> {
    let attachments = Attachments::open(&place.run);
    match attachments.get(owner)? {
        Some(attachment) => {
            attachments.write(&Attachment { inhabitant: Some(process), ..attachment })
        }
        None => Ok(()),
    }
}

/// All records of networks in use.
pub(crate) fn attachments(place: &Place) -> Result<Vec<Attachment>, Error> {
    let (mut found, problems) = Attachments::open(&place.run).all()?;
    warn(&problems);
    found.retain(Attachment::is_in_use);
    Ok(found)
}

/// Undoes the networks of those that are gone. What cannot be undone now is said, and tried again
/// next time.
pub(crate) fn reconcile(place: &Place) {
    let attachments = Attachments::open(&place.run);
    let stale = |attachments: &Attachments| match attachments.all() {
        Ok((found, _)) => found.iter().any(|attachment| !attachment.is_in_use()),
        Err(_) => true,
    };
    // Nobody is kept waiting where there is nothing to do.
    if !stale(&attachments) {
        return;
    }
    let cleared = || {
        let netavark = Netavark::find(attachments.netavark()?)?;
        let _lock = attachments.lock()?;
        clear_stale(&attachments, &netavark)
    };
    if let Err(error) = cleared() {
        warn(&[error]);
    }
}

/// Undoes what is no longer in use; the rest. The caller holds the lock.
fn clear_stale(attachments: &Attachments, netavark: &Netavark) -> Result<Vec<Attachment>, Error> {
    let (found, problems) = attachments.all()?;
    warn(&problems);
    let mut others = Vec::new();
    for attachment in found {
        if attachment.is_in_use() {
            others.push(attachment);
        } else if let Err(error) = clear(attachments, netavark, &attachment, None) {
            warn(&[error]);
            others.push(attachment);
        }
    }
    Ok(others)
}

/// Undoes one; its record goes last. The caller holds the lock.
///
/// netavark takes the container's interface away first, and where it finds none, leaves the bridge
/// and its rules. Where the namespace is gone, or was changed from inside, it is all set up once
/// more, in a new one, and undone from there.
fn clear(
    attachments: &Attachments,
    netavark: &Netavark,
    attachment: &Attachment,
    namespace: Option<Namespace>,
) -> Result<(), Error> {
    let undone = namespace
        .is_some_and(|namespace| netavark.undo(&namespace.path(), &attachment.options).is_ok());
    if !undone {
        let again = Namespace::make(None)?;
        // It may fail half-way, as it may have before; what there is is undone all the same.
        let _ = netavark.set_up(&again.path(), &attachment.options);
        netavark.undo(&again.path(), &attachment.options)?;
    }
    attachments.remove(&attachment.owner)
}

fn warn(problems: &[Error]) {
    for problem in problems {
        eprintln!("Warning: {}, ignoring", chain(problem));
    }
}
