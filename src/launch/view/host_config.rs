//! What a container was asked to be on its host: `HostConfig` and `Mounts` of podman-inspect(1).

use serde_json::{Value, json};

use crate::launch::args::{Create, ResourceFlags};
use crate::launch::isolation::limits::Limits;
use crate::launch::isolation::owner::{Ipc, Owner};
use crate::launch::isolation::resources::size::parse_bytes;
use crate::launch::network::mode::Mode;
use crate::launch::network::publish;
use crate::launch::network::show as network;
use crate::launch::storage::volume::{parse_bind, parse_tmpfs};
use crate::launch::view::container::Container;
use crate::launch::view::words;

pub(super) fn host_config(container: &Container) -> Value {
    let Some(definition) = &container.definition else { return Value::Null };
    let create = &definition.create;
    let ports = publish::parse(&create.network.publish).unwrap_or_default();
    let isolation = &create.isolation;
    let mut document = json!({
        "AutoRemove": container.record.remove,
        "Binds": create.storage.volume,
        "CapAdd": create.isolation.cap_add,
        "CapDrop": create.isolation.cap_drop,
        "CgroupManager": "systemd",
        "CgroupMode": owner(isolation.cgroupns.as_ref()),
        "CgroupParent": create.resources.cgroup_parent.as_deref().unwrap_or_default(),
        "Cgroups": create.service.cgroups,
        "GroupAdd": create.program.group_add,
        "ContainerIDFile": container.record.cidfile.as_deref().unwrap_or("".as_ref()),
        "Init": false,
        "IpcMode": isolation.ipc.as_ref().unwrap_or(&Ipc::Shareable).to_string(),
        "LogConfig": log(container),
        "NetworkMode": network_mode(container),
        "OomScoreAdj": isolation.oom_score_adj.unwrap_or(0),
        "PidMode": owner(isolation.pid.as_ref()),
        "PortBindings": network::bindings(&ports),
        "Privileged": isolation.privileged,
        "PublishAllPorts": false,
        "ReadonlyRootfs": create.storage.read_only,
        "RestartPolicy": restart_policy(create),
        "Runtime": "oci",
        "SecurityOpt": isolation.security_opt,
        "Tmpfs": tmpfs(create),
        "UTSMode": owner(isolation.uts.as_ref()),
        "UsernsMode": "",
        "Ulimits": Limits::new(&isolation.ulimit).map_or(Value::Null, |limits| limits.to_json()),
        "VolumesFrom": null,
    });
    if let (Value::Object(document), Value::Object(limits)) =
        (&mut document, resources(&create.resources))
    {
        document.extend(limits);
    }
    document
}

fn owner(owner: Option<&Owner>) -> String {
    owner.unwrap_or(&Owner::Private).to_string()
}

/// What the container was limited to; 0 is no limit.
fn resources(flags: &ResourceFlags) -> Value {
    let bytes = |text: &Option<String>| match text.as_deref() {
        Some("-1") => -1,
        text => text.and_then(parse_bytes).and_then(|bytes| bytes.try_into().ok()).unwrap_or(0i64),
    };
    let cpus = flags.cpus.as_deref().and_then(|cpus| cpus.parse::<f64>().ok()).unwrap_or(0.0);
    json!({
        "BlkioWeight": flags.blkio_weight.unwrap_or(0),
        "CpuPeriod": flags.cpu_period.unwrap_or(0),
        "CpuQuota": flags.cpu_quota.unwrap_or(0),
        "CpuShares": flags.cpu_shares.unwrap_or(0),
        "CpusetCpus": flags.cpuset_cpus.as_deref().unwrap_or_default(),
        "CpusetMems": flags.cpuset_mems.as_deref().unwrap_or_default(),
        "Memory": bytes(&flags.memory),
        "MemoryReservation": bytes(&flags.memory_reservation),
        "MemorySwap": bytes(&flags.memory_swap),
        "NanoCpus": (cpus * 1e9).round() as i64,
        "PidsLimit": flags.pids_limit.unwrap_or(0),
    })
}

fn restart_policy(create: &Create) -> Value {
    let policy = create.process.restart;
    json!({"Name": policy.name(), "MaximumRetryCount": policy.most().unwrap_or(0)})
}

fn log(container: &Container) -> Value {
    let log = &container.record.log;
    json!({
        "Type": container.record.log_driver,
        "Config": null,
        "Path": log.path.as_deref().unwrap_or("".as_ref()),
        "Tag": log.tag.as_deref().unwrap_or_default(),
        "Size": words::size(log.max_size.unwrap_or(0)),
    })
}

/// As it was asked for; a pod's container has the pod's.
pub(super) fn network_mode(container: &Container) -> String {
    let mut flags = container.definition.iter().map(|definition| &definition.create.network);
    match flags.find_map(|flags| Mode::parse(flags).ok()) {
        _ if container.record.pod.is_some() => "pod".to_owned(),
        Some(mode) => mode.to_string(),
        None => String::new(),
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
