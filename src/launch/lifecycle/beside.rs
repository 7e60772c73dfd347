//! Beside whom a container of an ordinary user is started: namespaces that it shares belong to the
//! user namespace of whoever made them, and only from there can they be entered.

use crate::launch::args::Create;
use crate::launch::isolation::owner::{Ipc, Owner};
use crate::launch::lifecycle::containers;
use crate::launch::network::mode::Mode;
use crate::launch::place::Place;
use crate::launch::{Error, pod};
use crate::store::containers::{Process, Record};

/// The supervisor of the container's pod, or of the container that it shares something with.
pub(crate) fn whom(
    place: &Place,
    create: &Create,
    record: &Record,
) -> Result<Option<Process>, Error> {
    if record.pod.is_some() {
        return pod::join::supervisor(place, record);
    }
    let isolation = &create.isolation;
    let owners = [
        isolation.pid.as_ref(),
        isolation.ipc.as_ref().map(Ipc::owner),
        isolation.uts.as_ref(),
        isolation.cgroupns.as_ref(),
    ];
    let named = owners.into_iter().flatten().find_map(|owner| match owner {
        Owner::Container(word) => Some(word.clone()),
        _ => None,
    });
    let of_network = || match Mode::parse(&create.network) {
        Ok(Mode::Container(word)) => Some(word),
        _ => None,
    };
    let Some(word) = named.or_else(of_network) else { return Ok(None) };
    let other = containers::find(place, &word)?;
    Ok(other.supervisor.filter(|_| other.pid.is_some_and(|init| init.is_alive())))
}
