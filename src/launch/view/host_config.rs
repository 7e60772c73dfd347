//! What a container was asked to be on its host: `HostConfig` and `Mounts` of podman-inspect(1).

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::launch::args::{Create, Network};
use crate::launch::storage::flags::size;
use crate::launch::storage::mounts::DEFAULT_SHM;
use crate::launch::storage::volume::{Source, Volume};
use crate::launch::view::container::Container;

pub(super) fn host_config(container: &Container) -> Value {
    let Some(definition) = &container.definition else { return Value::Null };
    let create = &definition.create;
    json!({
        "AutoRemove": container.record.remove,
        "Binds": create.storage.volume,
        "CapAdd": create.isolation.cap_add,
        "CapDrop": create.isolation.cap_drop,
        "CgroupManager": "systemd",
        "CgroupMode": "private",
        "Cgroups": create.service.cgroups,
        "ContainerIDFile": container.record.cidfile.as_deref().unwrap_or("".as_ref()),
        "Init": false,
        "IpcMode": "private",
        "LogConfig": log(container),
        "NetworkMode": network_mode(create),
        "OomScoreAdj": 0,
        "PidMode": "private",
        "PortBindings": {},
        "Privileged": false,
        "PublishAllPorts": false,
        "ReadonlyRootfs": create.storage.read_only,
        "RestartPolicy": restart_policy(create),
        "Runtime": "oci",
        "SecurityOpt": [],
        "ShmSize": shm_size(create),
        "Tmpfs": tmpfs(create),
        "UTSMode": "private",
        "UsernsMode": "",
        "VolumesFrom": create.storage.volumes_from,
    })
}

fn restart_policy(create: &Create) -> Value {
    let policy = create.process.restart;
    json!({"Name": policy.name(), "MaximumRetryCount": policy.most().unwrap_or(0)})
}

fn log(container: &Container) -> Value {
    json!({"Type": container.record.log_driver, "Config": null, "Path": "", "Tag": "", "Size": "0B"})
}

/// As it was asked for; a pod's container has the pod's.
pub(super) fn network_mode(create: &Create) -> &'static str {
    match create.network.network {
        Some(Network::Host) => "host",
        Some(Network::None) => "none",
        None => "pod",
    }
}

fn tmpfs(create: &Create) -> Value {
    let pair = |text: &String| {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        (target.to_owned(), Value::String(options.to_owned()))
    };
    Value::Object(create.storage.tmpfs.iter().map(pair).collect())
}

/// In bytes.
fn shm_size(create: &Create) -> u64 {
    let asked = create.storage.shm_size.as_deref().and_then(size::parse);
    asked.unwrap_or(DEFAULT_SHM)
}

/// `Mounts`: what is mounted from outside of the image.
pub(super) fn mounts(container: &Container) -> Vec<Value> {
    let Some(definition) = &container.definition else { return Vec::new() };
    definition.volumes.iter().map(|volume| mount(container, volume)).collect()
}

fn mount(container: &Container, volume: &Volume) -> Value {
    let (kind, name, source) = match &volume.source {
        Source::Bind { path } => ("bind", "", path.clone()),
        Source::Volume { name, .. } => ("volume", name.as_str(), container.volumes.data(name)),
        Source::Tmpfs { .. } => ("tmpfs", "", PathBuf::new()),
        Source::Image { reference, .. } => ("image", "", reference.to_string().into()),
    };
    let mut mount = json!({
        "Type": kind,
        "Source": source,
        "Destination": volume.target,
        "Driver": if name.is_empty() { "" } else { "local" },
        "Mode": "",
        "RW": !volume.options.has("ro") && !volume.options.has("rro"),
        "Propagation": volume.options.propagation.word(),
        "Options": volume.options.words,
    });
    if !name.is_empty() {
        mount["Name"] = name.into();
    }
    mount
}
