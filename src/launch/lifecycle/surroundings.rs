//! What a container has around it before it is described: its pod, its users on the host, its name
//! among others, its network.

use crate::launch::args::Create;
use crate::launch::isolation::namespaces::Namespace;
use crate::launch::lifecycle::asked::Asked;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::network::join::{self, Files, Joined};
use crate::launch::place::Place;
use crate::launch::pod::join::Joined as JoinedPod;
use crate::launch::pod::store::Pods;
use crate::launch::storage::rootfs::Rootfs;
use crate::launch::userns::allocate::needed;
use crate::launch::userns::have::{self, Setting};
use crate::launch::userns::own::Own;
use crate::launch::{Error, pod, userns};
use crate::store::Image;
use crate::store::containers::Record;

/// A container's surroundings, as long as its network is there.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) pod: Option<JoinedPod>,
    pub(crate) hostname: String,
    /// Its user namespace, where that is not the launcher's.
    pub(crate) own: Option<Own>,
    /// Who the calling user is in it, where that was asked for.
    pub(crate) kept: Option<userns::asked::Kept>,
    /// How the runtime comes by the network.
    pub(crate) network: Namespace,
    /// Whether that is the container's own, or its pod's.
    pub(crate) is_own_network: bool,
    /// Its files of names.
    pub(crate) names: Files,
}

/// Finds the container's pod, which must run, and has a user namespace and a network set up, or
/// joins them. The network is to be ended with the container.
pub(crate) fn enter(
    place: &Place,
    create: &Create,
    asked: &Asked,
    record: &mut Record,
    (image, rootfs): (&Image, &mut Rootfs),
) -> Result<(Surroundings, Joined), Error> {
    let pod = joined(place, record)?;
    let own = match &pod {
        Some(pod) => pod.users(place)?,
        None => users(place, &asked.users, record, &|| needed_by(rootfs))?,
    };
    show_by(place, own.as_ref(), (image, rootfs))?;
    let of_pod = pod.as_ref().filter(|_| create.isolation.uts.is_none());
    let of_pod = of_pod.and_then(JoinedPod::hostname).map(str::to_owned);
    let alone = || join::hostname(&asked.network.mode, &record.id);
    let hostname = of_pod.or_else(|| create.network.hostname.clone()).unwrap_or_else(alone);
    let shared = pod.as_ref().map(|pod| pod.network(place)).transpose()?.flatten();
    let descriptor = own.as_ref().map(Own::descriptor);
    let network = match shared {
        Some(network) => network,
        None => join::join(place, &asked.network, &record.id, &record.name, &hostname, descriptor)?,
    };
    let of_whom = pod.as_ref().map_or(Ok(asked.users.clone()), JoinedPod::asked_users)?;
    let surroundings = Surroundings {
        pod,
        hostname,
        kept: of_whom.kept_now()?,
        network: network.namespace(own.is_some()),
        is_own_network: network.is_own(),
        names: network.files.clone(),
        own,
    };
    Ok((surroundings, network))
}

/// A user namespace like that which the container has, or will have; `needed` is as many IDs as make
/// sense for it. That of a container in another launcher's namespace cannot be had itself.
pub(crate) fn own_by_definition(
    place: &Place,
    record: &Record,
    needed: &dyn Fn() -> u32,
) -> Result<Option<Own>, Error> {
    let pod = record.pod.as_ref().map(|id| Pods::open(place).get(id)).transpose()?.flatten();
    if let Some(pod) = &pod {
        return pod.have_users(place);
    }
    let flags = Definition::read(place, &record.id)?.create.users;
    match userns::asked::Asked::read(&flags).map_err(userns::Error::from)? {
        userns::asked::Asked::Container(word) => {
            own_by_definition(place, &containers::find(place, &word)?, needed)
        }
        asked => users(place, &asked, &mut record.clone(), needed),
    }
}

/// Who the calling user is in a container, where that was asked for: whoever runs in it then, unless
/// somebody else was named.
pub(crate) fn kept(place: &Place, record: &Record) -> Result<Option<userns::asked::Kept>, Error> {
    let pod = record.pod.as_ref().map(|id| Pods::open(place).get(id)).transpose()?.flatten();
    let flags = match pod {
        Some(pod) => pod.users,
        None => Definition::read(place, &record.id)?.create.users,
    };
    let asked = userns::asked::Asked::read(&flags).map_err(userns::Error::from)?;
    Ok(asked.kept_now()?)
}

/// The same for a container that does not run, whose root file system is mounted by it then.
pub(crate) fn own_later(
    place: &Place,
    record: &Record,
    (image, rootfs): (&Image, &mut Rootfs),
) -> Result<Option<Own>, Error> {
    let own = own_by_definition(place, record, &|| needed_by(rootfs))?;
    show_by(place, own.as_ref(), (image, rootfs))?;
    Ok(own)
}

/// As many IDs as the users and groups of its image make necessary.
fn needed_by(rootfs: &Rootfs) -> u32 {
    needed(&rootfs.read("/etc/passwd"), &rootfs.read("/etc/group"))
}

/// Mounts the root file system of layers that belong to the container's users.
fn show_by(
    place: &Place,
    own: Option<&Own>,
    (image, rootfs): (&Image, &mut Rootfs),
) -> Result<(), Error> {
    match own.filter(|own| !own.is_shown() && !image.layers.is_empty()) {
        Some(own) => rootfs.change(own.layers(place, image.layers.clone())?),
        None => Ok(()),
    }
}

/// The user namespace that the container's own flags ask for.
fn users(
    place: &Place,
    asked: &userns::asked::Asked,
    record: &mut Record,
    needed: &dyn Fn() -> u32,
) -> Result<Option<Own>, Error> {
    let (id, allotted) = (record.id.clone(), record.allotted);
    let mut note = |allotted| {
        record.allotted = Some(allotted);
        Ok(place.records().write(record)?)
    };
    have::have(asked, Setting { place, id: &id, allotted, needed, note: &mut note })
}

fn joined(place: &Place, record: &Record) -> Result<Option<JoinedPod>, Error> {
    let Some(id) = &record.pod else { return Ok(None) };
    let pod = Pods::open(place).get(id)?;
    let pod = pod.ok_or_else(|| pod::Error::NoSuchPod(id.short().to_owned()))?;
    JoinedPod::find(place, &pod).map(Some)
}
