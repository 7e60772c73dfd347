//! What a container has of its pod.

use std::path::{Path, PathBuf};

use crate::launch::Error;
use crate::launch::args::{Create, NetworkFlags};
use crate::launch::isolation::namespaces::{Namespace as Of, Namespaces};
use crate::launch::lifecycle::name;
use crate::launch::network;
use crate::launch::network::join::{Files, Kind};
use crate::launch::network::mode::Mode;
use crate::launch::place::Place;
use crate::launch::pod;
use crate::launch::pod::definition::{Namespace, Pod};
use crate::launch::pod::make::make;
use crate::launch::pod::store::Pods;
use crate::launch::pod::supervise;
use crate::launch::storage::volume::Volume;
use crate::launch::userns;
use crate::launch::userns::asked::Asked;
use crate::launch::userns::have;
use crate::launch::userns::own::Own;
use crate::store::containers::{Process, Record};

/// A pod that runs, as one of its containers sees it.
#[derive(Debug)]
pub(crate) struct Joined {
    pod: Pod,
    /// The process that holds the namespaces.
    infra: Process,
    shm: PathBuf,
}

impl Joined {
    /// # Errors
    /// Where the pod does not run.
    pub(crate) fn find(place: &Place, pod: &Pod) -> Result<Self, Error> {
        let pods = Pods::open(place);
        let state = pods.state(&pod.id)?.filter(|state| state.is_running());
        let infra = state.and_then(|state| state.infra);
        let infra = infra.ok_or_else(|| pod::Error::InfraEnded { pod: pod.name.clone() })?;
        let shm = pods.directory(&pod.id).join("shm");
        Ok(Self { pod: pod.clone(), infra, shm })
    }

    /// Puts the pod's namespaces in the place of the container's own.
    pub(crate) fn share(&self, namespaces: &mut Namespaces) {
        for namespace in self.pod.share.iter() {
            let slot = match namespace {
                Namespace::Ipc => &mut namespaces.ipc,
                Namespace::Net => &mut namespaces.network,
                Namespace::Pid => &mut namespaces.pid,
                Namespace::Uts => &mut namespaces.uts,
            };
            // On the host's network, that is the infra's, too.
            *slot = Of::At(format!("/proc/{}/ns/{}", self.infra.pid, namespace.name()).into());
        }
    }

    /// The user namespace of its containers, where that is not the launcher's.
    ///
    /// # Errors
    /// Where the pod has ended meanwhile.
    pub(crate) fn users(&self, place: &Place) -> Result<Option<Own>, Error> {
        let own = have::of_process(place, self.infra)?;
        // Its number may be another process's by now.
        match self.infra.is_alive() {
            true => Ok(own),
            false => Err(pod::Error::InfraEnded { pod: self.pod.name.clone() }.into()),
        }
    }

    /// What was asked for of it.
    pub(crate) fn asked_users(&self) -> Result<Asked, Error> {
        self.pod.asked_users()
    }

    /// The network of its containers, where they share one.
    ///
    /// # Errors
    /// Where the pod has ended meanwhile.
    pub(crate) fn network(&self, place: &Place) -> Result<Option<network::join::Joined>, Error> {
        if !self.pod.share.has(Namespace::Net) {
            return Ok(None);
        }
        let namespace = network::namespace::Namespace::of(self.infra)?
            .ok_or_else(|| pod::Error::InfraEnded { pod: self.pod.name.clone() })?;
        let files = Files::read(&Pods::open(place).directory(&self.pod.id));
        let mode = Mode::parse(&self.pod.network).map_err(network::Error::from)?;
        let kind = if mode == Mode::Host { Kind::Host } else { Kind::Pod(namespace) };
        Ok(Some(files.of(kind)))
    }

    pub(crate) fn hostname(&self) -> Option<&str> {
        self.pod.hostname()
    }

    /// What the containers have in common as `/dev/shm`, where they share IPC.
    pub(crate) fn shm(&self) -> Option<Volume> {
        let volume = || {
            let options = ["noexec".to_owned()];
            Volume::bound(self.shm.clone(), Path::new("/dev/shm").to_owned(), &options)
        };
        self.pod.share.has(Namespace::Ipc).then(volume)
    }
}

/// The pod that a command line names for a container; "new:NAME" makes it.
pub(crate) fn of(place: &Place, create: &Create) -> Result<Option<Pod>, Error> {
    let pods = Pods::open(place);
    let asked = Asked::read(&create.users).map_err(userns::Error::from)?;
    let is_new = create.identity.pod.as_ref().is_some_and(|word| word.starts_with("new:"));
    let is_of_pod = create.identity.pod.is_some() || create.identity.pod_id_file.is_some();
    if is_of_pod && !is_new && asked != Asked::Host {
        return Err(userns::Error::InPod.into());
    }
    let pod = match (&create.identity.pod, &create.identity.pod_id_file) {
        (Some(word), _) => match word.strip_prefix("new:") {
            Some(name) => {
                let name = name::parse(name).map_err(pod::Error::Name)?;
                asked.check(place.scope).map_err(userns::Error::from)?;
                let users = create.users.clone();
                let pod = Pod { users, ..Pod::new(Some(&name))? };
                make(place, &pod, false)?;
                pod
            }
            None => pods.find(word)?,
        },
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|source| Error::file("read", file, source))?;
            pods.find(text.trim())?
        }
        (None, None) => return Ok(None),
    };
    refuse_own(&pod, create)?;
    Ok(Some(pod))
}

/// Starts the pod of a container, where it has one that does not run. A status is this process's
/// last word.
pub(crate) fn ensure(place: &Place, record: &Record) -> Result<Option<u8>, Error> {
    let Some(id) = &record.pod else { return Ok(None) };
    match Pods::open(place).get(id)? {
        Some(pod) => supervise::ensure(place, &pod),
        None => Err(pod::Error::NoSuchPod(id.short().to_owned()).into()),
    }
}

/// Whether anything is said of a network: all of these flags but one are.
fn has_network(flags: &NetworkFlags) -> bool {
    let hostname = flags.hostname.clone();
    *flags != NetworkFlags { hostname, ..NetworkFlags::default() }
}

/// The supervisor of the pod of a container that has one: who owns the pod's namespaces.
pub(crate) fn supervisor(place: &Place, record: &Record) -> Result<Option<Process>, Error> {
    let Some(id) = &record.pod else { return Ok(None) };
    let state = Pods::open(place).state(id)?;
    Ok(state.filter(|state| state.is_running()).map(|state| state.supervisor))
}

/// Refuses flags of a container that are its pod's to set.
fn refuse_own(pod: &Pod, create: &Create) -> Result<(), Error> {
    let own = [
        ("hostname", Namespace::Uts, create.network.hostname.is_some()),
        ("network", Namespace::Net, has_network(&create.network) || create.expose.publish_all),
    ];
    match own.into_iter().find(|(_, namespace, is_set)| *is_set && pod.share.has(*namespace)) {
        Some((flag, namespace, _)) => {
            Err(pod::Error::OfPod { flag, namespace: namespace.name() }.into())
        }
        None => Ok(()),
    }
}
