//! The containers of a pod.

use serde::Serialize;

use crate::launch::Error;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::traces;
use crate::launch::place::Place;
use crate::launch::pod;
use crate::launch::pod::definition::{ExitPolicy, Pod};
use crate::launch::pod::store::Pods;
use crate::launch::storage::writable::Discarded;
use crate::model::ContainerId;
use crate::store::containers::Record;

/// What a pod does, in Podman's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Status {
    /// Nothing of it was started.
    Created,
    Running,
    /// It runs, but not all of its containers do.
    Degraded,
    Exited,
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Running => "Running",
            Self::Degraded => "Degraded",
            Self::Exited => "Exited",
        }
    }
}

/// The pod's containers, in the order of their creation.
pub(crate) fn of(place: &Place, pod: &Pod) -> Result<Vec<Record>, Error> {
    let mut records = place.records().all()?.records;
    records.retain(|record| record.pod.as_ref() == Some(&pod.id));
    Ok(records)
}

/// What the pod does.
pub(crate) fn status(place: &Place, pod: &Pod, members: &[Record]) -> Result<Status, Error> {
    let state = Pods::open(place).state(&pod.id)?;
    Ok(match state {
        Some(state) if state.is_running() => match members.iter().all(Record::is_running) {
            true => Status::Running,
            false => Status::Degraded,
        },
        Some(_) => Status::Exited,
        None if members.iter().any(|record| record.started.is_some()) => Status::Exited,
        None => Status::Created,
    })
}

/// Stops the pod's containers, all at the same time, then the pod. What does not run is no error.
pub(crate) fn stop(place: &Place, pod: &Pod, timeout: Option<u32>) -> Result<(), Error> {
    let members = of(place, pod)?;
    let failed = std::thread::scope(|scope| {
        let stops: Vec<_> = members
            .iter()
            .map(|record| scope.spawn(move || containers::stop(record, timeout)))
            .collect();
        // A thread ends by a panic only where that was printed already.
        stops.into_iter().filter_map(|stop| stop.join().ok()?.err()).collect::<Vec<_>>()
    });
    if let Some(error) = failed.into_iter().next() {
        return Err(error);
    }
    let pods = Pods::open(place);
    if let Some(state) = pods.state(&pod.id)? {
        containers::end(state.supervisor)?;
    }
    pods.stopped(&pod.id)
}

/// A container of the pod `id` is at its end: where that was the last one, the pod may have to end.
pub(crate) fn one_ended(place: &Place, id: &ContainerId, ended: &ContainerId) -> Result<(), Error> {
    let pods = Pods::open(place);
    let Some(pod) = pods.get(id)?.filter(|pod| pod.exit_policy == ExitPolicy::Stop) else {
        return Ok(());
    };
    let others = of(place, &pod)?;
    if others.iter().any(|record| record.id != *ended && record.is_running()) {
        return Ok(());
    }
    match pods.state(id)? {
        Some(state) => containers::end(state.supervisor),
        None => Ok(()),
    }
}

/// Removes the pod and its containers; those that run only with `force`.
pub(crate) fn remove(
    place: &Place,
    pod: &Pod,
    force: bool,
    timeout: Option<u32>,
) -> Result<(), Error> {
    let running: Vec<String> =
        of(place, pod)?.into_iter().filter(Record::is_running).map(|record| record.name).collect();
    if !running.is_empty() && !force {
        let containers = running.join(", ");
        return Err(pod::Error::Running { pod: pod.name.clone(), containers }.into());
    }
    stop(place, pod, timeout)?;
    place.enter()?;
    traces::reconcile(place);
    for record in of(place, pod)? {
        containers::clear_away(place, &record)?.into_iter().for_each(Discarded::remove);
    }
    if let Some(path) = &pod.id_file {
        containers::remove_cidfile(path, &pod.id);
    }
    Pods::open(place).remove(&pod.id)
}
