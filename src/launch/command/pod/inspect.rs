//! `updater-launch pod inspect`

use clap::Args;
use serde_json::{Value, json};

use super::Which;
use crate::launch::place::Place;
use crate::launch::pod::definition::{Namespace, Pod};
use crate::launch::pod::members;
use crate::launch::pod::store::Pods;
use crate::launch::view::container::state;
use crate::launch::{Error, show as print};
use crate::terminal::template::Format;

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    which: Which,
    /// "json", or a Go template
    #[arg(short, long, value_name = "FORMAT", default_value = "json", hide_default_value = true)]
    format: Format,
}

pub(crate) fn show(place: &Place, flags: &Inspect) -> Result<u8, Error> {
    let pods = flags.which.find(place, false)?;
    let all = pods.iter().map(|pod| one(place, pod)).collect::<Result<Vec<_>, _>>()?;
    print(&flags.format, &all)?;
    Ok(0)
}

fn one(place: &Place, pod: &Pod) -> Result<Value, Error> {
    let members = members::of(place, pod)?;
    let state_of_pod = Pods::open(place).state(&pod.id)?;
    let containers: Vec<_> = members
        .iter()
        .map(|record| json!({ "Id": record.id, "Name": record.name, "State": state(record) }))
        .collect();
    Ok(json!({
        "Id": pod.id,
        "Name": pod.name,
        "Created": pod.created,
        "CreateCommand": pod.arguments,
        "ExitPolicy": pod.exit_policy,
        "State": members::status(place, pod, &members)?.word(),
        "Hostname": pod.hostname(),
        "Labels": pod.labels,
        "CreateInfra": true,
        "InfraContainerID": pod.infra_id,
        "InfraContainerName": pod.infra_name,
        "InfraPid": state_of_pod.and_then(|state| state.infra).map(|infra| infra.pid),
        "ConmonPid": state_of_pod.map(|state| state.supervisor.pid),
        "SharedNamespaces": pod.share.iter().map(Namespace::name).collect::<Vec<_>>(),
        "NumContainers": members.len() + 1,
        "Containers": containers,
    }))
}
