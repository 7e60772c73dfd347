//! Beside whom a container of an ordinary user is started: namespaces that it shares belong to the
//! user namespace of whoever made them, and only from there can they be entered.

use crate::launch::args::Create;
use crate::launch::lifecycle::{confine, containers};
use crate::launch::network::mode::Mode;
use crate::launch::place::Place;
use crate::launch::userns::mode::Mode as Users;
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
    if let Some(neighbour) = confine::neighbour(place, create)? {
        return Ok(Some(neighbour));
    }
    let word = match (create.users.userns.clone(), Mode::parse(&create.network)) {
        (Some(Users::Container(word)), _) | (_, Ok(Mode::Container(word))) => word,
        _ => return Ok(None),
    };
    let other = containers::find(place, &word)?;
    Ok(other.supervisor.filter(|_| other.pid.is_some_and(|init| init.is_alive())))
}
