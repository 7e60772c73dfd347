//! Who uses a network: containers and pods that were made with it, whether they run or not.

use crate::launch::Error;
use crate::launch::args::NetworkFlags;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::network::mode::Mode;
use crate::launch::network::networks::Network;
use crate::launch::place::Place;
use crate::launch::pod::definition::{Namespace, Pod};
use crate::launch::pod::store::Pods;
use crate::store::containers::Record;

/// A user of a network.
#[derive(Debug)]
pub(crate) enum User {
    Container(Box<Record>),
    Pod(Box<Pod>),
}

impl User {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Container(record) => &record.name,
            Self::Pod(pod) => &pod.name,
        }
    }
}

/// The users of a network. A container whose definition cannot be read is none: it cannot be started.
pub(crate) fn of(place: &Place, network: &Network) -> Result<Vec<User>, Error> {
    let mut users = Vec::new();
    for record in place.records().all()?.records {
        if record.pod.is_none()
            && let Ok(definition) = Definition::read(place, &record.id)
            && names(&definition.create.network, network)
        {
            users.push(User::Container(Box::new(record)));
        }
    }
    for pod in Pods::open(place).all()? {
        if pod.share.has(Namespace::Net) && names(&pod.network, network) {
            users.push(User::Pod(Box::new(pod)));
        }
    }
    Ok(users)
}

/// Whether flags name the network; it may be by its ID.
fn names(flags: &NetworkFlags, network: &Network) -> bool {
    let mode = Mode::parse(flags);
    mode.is_ok_and(|mode| {
        mode.networks().any(|name| name == network.name || network.id.starts_with(name))
    })
}
