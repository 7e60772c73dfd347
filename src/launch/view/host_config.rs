//! What a container was asked to be on its host: `HostConfig` and `Mounts` of podman-inspect(1).

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::launch::args::{Create, ResourceFlags};
use crate::launch::isolation::limits::Limits;
use crate::launch::isolation::owner::{Ipc, Owner};
use crate::launch::isolation::resources::size::parse_bytes;
use crate::launch::network::mode::Mode;
use crate::launch::network::publish;
use crate::launch::network::show as network;
use crate::launch::storage::mounts::DEFAULT_SHM;
use crate::launch::storage::volume::{Source, Volume};
use crate::launch::userns::asked::Asked;
use crate::launch::userns::{self, map};
use crate::launch::view::container::Container;
use crate::launch::view::words;
use crate::model::Scope;
use crate::store::containers::Process;

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
        "Init": create.process.init,
        "IpcMode": isolation.ipc.as_ref().unwrap_or(&Ipc::Shareable).to_string(),
        "LogConfig": log(container),
        "NetworkMode": network_mode(container),
        "OomScoreAdj": isolation.oom_score_adj.unwrap_or(0),
        "PidMode": owner(isolation.pid.as_ref()),
        "PortBindings": network::bindings(&ports),
        "Privileged": isolation.privileged,
        "PublishAllPorts": create.expose.publish_all,
        "ReadonlyRootfs": create.storage.read_only,
        "RestartPolicy": restart_policy(create),
        "Runtime": "oci",
        "SecurityOpt": isolation.security_opt,
        "ShmSize": shm_size(create),
        "Tmpfs": tmpfs(create),
        "UTSMode": owner(isolation.uts.as_ref()),
        "UsernsMode": if mapping(container).is_some() { "private" } else { "" },
        "IDMappings": mapping(container),
        "Ulimits": Limits::new(&isolation.ulimit).map_or(Value::Null, |limits| limits.to_json()),
        "VolumesFrom": create.storage.volumes_from,
    });
    if let (Value::Object(document), Value::Object(limits)) =
        (&mut document, resources(&create.resources))
    {
        document.extend(limits);
    }
    document
}

/// Who its users are outside, while it runs in a user namespace of its own.
fn mapping(container: &Container) -> Option<Value> {
    let definition = container.definition.as_ref()?;
    let asked = Asked::read(&definition.create.users).ok()?;
    if asked == Asked::Host && container.record.pod.is_none() {
        return None;
    }
    let init = container.record.pid.filter(Process::is_alive)?;
    userns::have::other(init.pid).ok()??;
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{}/{name}", init.pid)).ok()?;
        let lines = map::lines(&text).into_iter();
        Some(lines.map(|(a, b, count)| format!("{a}:{b}:{count}")).collect::<Vec<_>>())
    };
    Some(json!({"UidMap": read("uid_map")?, "GidMap": read("gid_map")?}))
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
        Some(Mode::Bridge(_)) if Scope::current() == Scope::User => "pasta".to_owned(),
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

/// In bytes.
fn shm_size(create: &Create) -> u64 {
    let asked = create.storage.shm_size.as_deref().and_then(parse_bytes);
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
