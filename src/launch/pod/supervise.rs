//! A pod's supervisor: makes its namespaces and network, waits for their end, clears away.

use std::path::Path;

use jiff::Timestamp;

use crate::launch::lifecycle::detach::{self, Handover};
use crate::launch::network::join::Joined;
use crate::launch::place::Place;
use crate::launch::pod::definition::{Namespace, Pod};
use crate::launch::pod::infra::Entering;
use crate::launch::pod::store::{Pods, State};
use crate::launch::pod::{self, infra};
use crate::launch::supervise::{Signals, attend_pod};
use crate::launch::userns::own::Own;
use crate::launch::{Error, network};
use crate::store::containers::Process;

/// Starts the pod, where it does not run. A status is this process's last word: it is the
/// supervisor, or that has failed.
pub(crate) fn ensure(place: &Place, pod: &Pod) -> Result<Option<u8>, Error> {
    if Pods::open(place).state(&pod.id)?.is_some_and(|state| state.is_running()) {
        return Ok(None);
    }
    let handover = detach::detach()?;
    match handover.started_id() {
        Some(_) => Ok(None),
        None => handover.outcome(supervise(place, pod, &handover)).map(Some),
    }
}

/// Runs the pod until it is told to end; its exit status.
fn supervise(place: &Place, pod: &Pod, handover: &Handover) -> Result<u8, Error> {
    place.enter()?;
    let pods = Pods::open(place);
    let mut state = begin(place, &pods, pod)?;
    let mut run = Run { place, pods: &pods, pod, network: None };
    let signals = Signals::take()?;
    let users = pod.have_users(place)?;
    run.join_network(users.as_ref())?;
    let network = run.network.as_ref();
    let is_made = |namespace: &Namespace| {
        *namespace != Namespace::Net || network.is_some_and(|network| network.is_to_be_made())
    };
    let own = pod.share.iter().filter(is_made);
    let entered = network.and_then(Joined::descriptor);
    let entering = Entering { network: entered, users: users.as_ref().map(Own::descriptor) };
    let infra = infra::start(own, entering, pod.hostname())
        .map_err(|source| pod::Error::Namespaces { pod: pod.name.clone(), source })?;
    let directory = pods.directory(&pod.id).join("shm");
    make_shm(&directory, users.as_ref())
        .map_err(|source| Error::file("make", directory, source))?;
    state.infra = Some(
        Process::of(infra.pid()).map_err(|_| pod::Error::InfraEnded { pod: pod.name.clone() })?,
    );
    pods.write_state(&pod.id, &state)?;
    if let Some(infra) = state.infra {
        network::inhabit(place, &pod.id, infra)?;
    }
    if let Some(path) = &pod.pidfile {
        write_pid(path)?;
    }
    handover.started("")?;
    let status = attend_pod(infra, signals, run.network.as_mut().and_then(Joined::pasta));
    drop(run);
    // It was told to end, and did.
    status.map(|status| if status == 128 + 15 { 0 } else { status })
}

/// Makes this process the pod's supervisor.
fn begin(place: &Place, pods: &Pods, pod: &Pod) -> Result<State, Error> {
    let _lock = place.records().lock()?;
    if pods.state(&pod.id)?.is_some_and(|state| state.is_supervised()) {
        return Err(pod::Error::Starting(pod.name.clone()).into());
    }
    pods.stopped(&pod.id)?;
    let supervisor = Process::current().map_err(|error| Error::system("find myself", error))?;
    let state = State { supervisor, infra: None, started: Timestamp::now() };
    pods.write_state(&pod.id, &state)?;
    Ok(state)
}

/// What is there as long as the pod runs.
struct Run<'a> {
    place: &'a Place,
    pods: &'a Pods,
    pod: &'a Pod,
    network: Option<Joined>,
}

impl Run<'_> {
    /// Has the network of the pod's containers, where they share one; it is found by the pod's name.
    fn join_network(&mut self, users: Option<&Own>) -> Result<(), Error> {
        let (pod, directory) = (self.pod, self.pods.directory(&self.pod.id));
        if pod.share.has(Namespace::Net) {
            let asked = network::join::Asked::read(&pod.network)?;
            let hostname = pod.hostname().unwrap_or(&pod.name);
            let users = users.map(Own::descriptor);
            let joined =
                network::join::join(self.place, &asked, &pod.id, &pod.name, hostname, users)?;
            let kept = joined.files.keep(&directory);
            self.network = Some(joined);
            kept?;
        }
        Ok(())
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.network.take().map(|network| network.end(self.place)) {
            eprintln!("Warning: {}, ignoring", crate::model::failure::chain(&error));
        }
        if let Some(path) = &self.pod.pidfile {
            let _ = std::fs::remove_file(path);
        }
        if let Err(error) = self.pods.stopped(&self.pod.id) {
            eprintln!("Warning: {}, ignoring", crate::model::failure::chain(&error));
        }
    }
}

/// What its containers have as `/dev/shm`, where they share IPC: anybody writes there.
fn make_shm(directory: &Path, users: Option<&Own>) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(directory)?;
    if let Some(users) = users {
        let (uid, gid) = users.on_disk(0, 0).map_err(std::io::Error::other)?;
        std::os::unix::fs::chown(directory, Some(uid), Some(gid))?;
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o1777))
}

fn write_pid(path: &Path) -> Result<(), Error> {
    std::fs::write(path, format!("{}\n", std::process::id()))
        .map_err(|source| Error::file("write the process ID to", path, source))
}
