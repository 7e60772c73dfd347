//! `updater-launch pod create`

use std::path::PathBuf;

use clap::Args;

use crate::launch::args::NetworkFlags;
use crate::launch::lifecycle::{asked, containers, name, traces};
use crate::launch::place::Place;
use crate::launch::pod::definition::{ExitPolicy, Pod, Share};
use crate::launch::pod::make::make;
use crate::launch::pod::store::Pods;
use crate::launch::{Error, network, say};

// `pod create`, with the flags of podman-pod-create(1) that are there.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Create {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Name of the pod; one is made up where there is none
    #[arg(short, long, value_parser = name::parse)]
    name: Option<String>,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// What its containers share: a list of ipc, net, pid, uts; "+pid" adds to the default
    #[arg(long, value_name = "LIST", default_value = "ipc,net,uts")]
    share: Share,
    /// Stop and remove a pod of the same name first, with its containers
    #[arg(long)]
    replace: bool,
    /// What happens when the last container has ended
    #[arg(long, value_name = "WHAT", default_value = "continue")]
    exit_policy: ExitPolicy,
    /// While the pod runs, the process ID of its supervisor: the PIDFile= of its unit
    #[arg(long, value_name = "FILE")]
    infra_conmon_pidfile: Option<PathBuf>,
    /// Name of what holds the pod together
    #[arg(long, value_name = "NAME", value_parser = name::parse)]
    infra_name: Option<String>,
    /// Write the pod's ID to a file
    #[arg(long, value_name = "FILE")]
    pod_id_file: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkFlags,
    /// Name of the pod, as --name
    #[arg(value_name = "NAME", value_parser = name::parse, conflicts_with = "name")]
    named: Option<String>,
}

pub(crate) fn create(place: &Place, flags: &Create) -> Result<u8, Error> {
    let pod = define(flags)?;
    traces::reconcile(place);
    make(place, &pod, flags.replace)?;
    if let Some(path) = &pod.id_file
        && let Err(error) = containers::write_cidfile(path, &pod.id)
    {
        Pods::open(place).remove(&pod.id)?;
        return Err(error);
    }
    say(&pod.id)?;
    Ok(0)
}

fn define(flags: &Create) -> Result<Pod, Error> {
    let absolute = |path: &Option<PathBuf>| path.as_deref().map(asked::absolute).transpose();
    let name = flags.name.as_deref().or(flags.named.as_deref());
    let mut pod = Pod::new(name)?;
    if let Some(name) = &flags.infra_name {
        pod.infra_name = name.clone();
    }
    pod.labels = asked::labels(&flags.label)?;
    pod.share = flags.share.clone();
    pod.network = network::join::settled(&flags.network)?;
    pod.exit_policy = flags.exit_policy;
    pod.pidfile = absolute(&flags.infra_conmon_pidfile)?;
    pod.id_file = absolute(&flags.pod_id_file)?;
    Ok(pod)
}
