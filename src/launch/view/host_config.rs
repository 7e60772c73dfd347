//! What a container was asked to be on its host: `HostConfig` and `Mounts` of podman-inspect(1).

use serde_json::{Value, json};

use crate::launch::args::{Create, Network};
use crate::launch::storage::volume::{parse_bind, parse_tmpfs};
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
        "Tmpfs": tmpfs(create),
        "UTSMode": "private",
        "UsernsMode": "",
        "VolumesFrom": null,
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

/// `Mounts`: what is mounted from outside of the image.
pub(super) fn mounts(container: &Container) -> Vec<Value> {
    let Some(definition) = &container.definition else { return Vec::new() };
    let storage = &definition.create.storage;
    let binds = storage.volume.iter().filter_map(|text| parse_bind(text, false).ok());
    let tmpfs = storage.tmpfs.iter().filter_map(|text| parse_tmpfs(text).ok());
    binds
        .chain(tmpfs)
        .map(|volume| {
            json!({
                "Type": if volume.source.is_some() { "bind" } else { "tmpfs" },
                "Source": volume.source.unwrap_or_default(),
                "Destination": volume.target,
                "Driver": "",
                "Mode": "",
                "RW": !volume.options.iter().any(|option| matches!(&**option, "ro" | "rro")),
                "Propagation": volume.options.iter().find(|option| option.contains("private")),
                "Options": volume.options,
            })
        })
        .collect()
}
