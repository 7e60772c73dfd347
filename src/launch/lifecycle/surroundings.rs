//! What a container has around it before it is described: its pod, its name among others, its
//! network.

use crate::launch::args::Create;
use crate::launch::isolation::namespaces::Namespace;
use crate::launch::lifecycle::asked::Asked;
use crate::launch::network::join::{self, Files, Joined};
use crate::launch::place::Place;
use crate::launch::pod::join::Joined as JoinedPod;
use crate::launch::pod::store::Pods;
use crate::launch::{Error, pod};
use crate::store::containers::Record;

/// A container's surroundings, as long as its network is there.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) pod: Option<JoinedPod>,
    pub(crate) hostname: String,
    /// How the runtime comes by the network.
    pub(crate) network: Namespace,
    /// Whether that is the container's own, or its pod's.
    pub(crate) is_own_network: bool,
    /// Its files of names.
    pub(crate) names: Files,
}

/// Finds the container's pod, which must run, and has a network set up, or joins one. The network is
/// to be ended with the container.
pub(crate) fn enter(
    place: &Place,
    create: &Create,
    asked: &Asked,
    record: &Record,
) -> Result<(Surroundings, Joined), Error> {
    let pod = joined(place, record)?;
    let of_pod = pod.as_ref().filter(|_| create.isolation.uts.is_none());
    let of_pod = of_pod.and_then(JoinedPod::hostname).map(str::to_owned);
    let own = || create.network.hostname.clone();
    let alone = || join::hostname(&asked.network.mode, &record.id);
    let hostname = of_pod.or_else(own).unwrap_or_else(alone);
    let shared = pod.as_ref().map(|pod| pod.network(place)).transpose()?.flatten();
    let network = match shared {
        Some(network) => network,
        None => join::join(place, &asked.network, &record.id, &record.name, &hostname)?,
    };
    let surroundings = Surroundings {
        pod,
        hostname,
        network: network.namespace(),
        is_own_network: network.is_own(),
        names: network.files.clone(),
    };
    Ok((surroundings, network))
}

fn joined(place: &Place, record: &Record) -> Result<Option<JoinedPod>, Error> {
    let Some(id) = &record.pod else { return Ok(None) };
    let pod = Pods::open(place).get(id)?;
    let pod = pod.ok_or_else(|| pod::Error::NoSuchPod(id.short().to_owned()))?;
    JoinedPod::find(place, &pod).map(Some)
}
