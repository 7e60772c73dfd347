//! New pods.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::launch::Error;
use crate::launch::args::{NetworkFlags, UserNamespaceFlags};
use crate::launch::lifecycle::name;
use crate::launch::place::Place;
use crate::launch::pod::definition::{ExitPolicy, Pod, Share};
use crate::launch::pod::members;
use crate::launch::pod::store::Pods;
use crate::model::ContainerId;

impl Pod {
    /// A pod of which nothing else is said.
    pub(crate) fn new(name: Option<&str>) -> Result<Self, Error> {
        let (id, infra_id) = (new_id()?, new_id()?);
        let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into());
        Ok(Self {
            name: name.map_or_else(|| format!("pod-{}", id.short()), str::to_owned),
            infra_name: format!("{}-infra", id.short()),
            created: Timestamp::now(),
            labels: BTreeMap::new(),
            share: Share::default(),
            network: NetworkFlags::default(),
            users: UserNamespaceFlags::default(),
            allotted: None,
            exit_policy: ExitPolicy::Continue,
            pidfile: None,
            id_file: None,
            arguments: arguments.collect(),
            id,
            infra_id,
        })
    }
}

fn new_id() -> Result<ContainerId, Error> {
    name::new_id().ok_or_else(|| Error::system("make an ID", std::io::ErrorKind::Other))
}

/// Writes the definition, and with it takes the name; containers and pods have names in common.
pub(crate) fn make(place: &Place, pod: &Pod, replace: bool) -> Result<(), Error> {
    let (records, pods) = (place.records(), Pods::open(place));
    loop {
        let lock = records.lock()?;
        let in_use = |what, id: &ContainerId| {
            let (name, id) = (pod.name.clone(), id.short().to_owned());
            Err(Error::NameInUse { name, what, id })
        };
        let containers = records.all()?.records;
        if let Some(other) = containers.iter().find(|record| record.name == pod.name) {
            return in_use("container", &other.id);
        }
        let Some(other) = pods.all()?.into_iter().find(|other| other.name == pod.name) else {
            return pods.write(pod);
        };
        if !replace {
            return in_use("pod", &other.id);
        }
        drop(lock);
        members::remove(place, &other, true, None)?;
    }
}
