//! A container as `podman inspect` shows it (podman-inspect(1), podman-container-inspect(1)).

use serde_json::{Value, json};

use crate::disk;
use crate::launch::args::Create;
use crate::launch::lifecycle::asked;
use crate::launch::network::show as network;
use crate::launch::place::Place;
use crate::launch::process::defaults::ExecDefaults;
use crate::launch::process::umask;
use crate::launch::view::container::Container;
use crate::launch::view::host_config::{host_config, mounts};
use crate::launch::view::words;
use crate::model::ContainerId;

/// What a container takes on the disk, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// What it wrote.
    pub(crate) writable: u64,
    /// That, and its image.
    pub(crate) all: u64,
}

/// Reads through all files; what cannot be read counts nothing.
pub(crate) fn size(place: &Place, container: &Container) -> Size {
    let upper = place.writable(&container.record.id).join("upper");
    let writable = disk::usage(&upper).unwrap_or(0);
    let layers = container.image.iter().flat_map(|image| &image.layers);
    let image: u64 = layers.map(|layer| disk::usage(layer).unwrap_or(0)).sum();
    Size { writable, all: writable + image }
}

/// The whole document. `Unit` and `AuthFile` are of ours: the unit that the launcher found itself
/// in, and the operator's credentials file.
pub(crate) fn document(place: &Place, container: &Container, size: Option<Size>) -> Value {
    let record = &container.record;
    let (path, arguments) = match record.command.split_first() {
        Some((path, arguments)) => (path.as_str(), arguments),
        None => ("", &[][..]),
    };
    let directory = place.records().directory(&record.id);
    let mut document = json!({
        "Id": record.id,
        "Created": record.created.to_string(),
        "Path": path,
        "Args": arguments,
        "State": state(container),
        "Image": container.image_id(),
        "ImageDigest": record.image.target,
        "ImageName": record.reference,
        "Rootfs": "",
        "Pod": record.pod.as_ref().map(ContainerId::as_str).unwrap_or_default(),
        "Name": record.name,
        "Driver": "overlay",
        "GraphDriver": {"Name": "overlay", "Data": graph(place, container)},
        "OCIRuntime": "libcontainer",
        "OCIConfigPath": directory.join("config.json"),
        "StaticDir": directory,
        "RestartCount": record.restarts,
        "IsInfra": false,
        "Namespace": "",
        "LogPath": record.log.path.as_deref().unwrap_or("".as_ref()),
        "LogTag": record.log.tag.as_deref().unwrap_or_default(),
        "MountLabel": "",
        "ProcessLabel": "",
        "ExecIDs": [],
        "Dependencies": [],
        "Mounts": mounts(container),
        "NetworkSettings": network::settings(place, &container.record),
        "Config": config(place, container),
        "HostConfig": host_config(container),
        "Unit": record.unit,
        "AuthFile": record.authfile,
    });
    if let Some(size) = size {
        document["SizeRw"] = size.writable.into();
        document["SizeRootFs"] = size.all.into();
    }
    document
}

fn state(container: &Container) -> Value {
    let record = &container.record;
    let status = container.state();
    json!({
        "OciVersion": "1.0.2",
        "Status": status,
        "Running": status == "running",
        "Paused": status == "paused",
        "Restarting": false,
        "OOMKilled": record.ended.is_some_and(|ended| ended.out_of_memory),
        "Dead": false,
        "Pid": container.pid(),
        "ConmonPid": container.supervisor(),
        "ExitCode": container.exit_code(),
        "Error": "",
        "StartedAt": words::time(record.started),
        "FinishedAt": words::time(record.ended.map(|ended| ended.at)),
        "CgroupPath": record.cgroup.as_deref().unwrap_or_default(),
        "Health": health(container),
    })
}

/// As Podman has it where there are no checks, too.
fn health(container: &Container) -> Value {
    match &container.health {
        Some(health) => json!({
            "Status": health.status,
            "FailingStreak": health.failing_streak,
            "Log": health.log,
        }),
        None => json!({"Status": "", "FailingStreak": 0, "Log": null}),
    }
}

fn graph(place: &Place, container: &Container) -> Value {
    let layers = container.image.iter().flat_map(|image| image.layers.iter().rev());
    let layers: Vec<_> = layers.map(|layer| layer.display().to_string()).collect();
    let writable = place.writable(&container.record.id);
    json!({
        "LowerDir": layers.join(":"),
        "UpperDir": writable.join("upper"),
        "WorkDir": writable.join("work"),
        "MergedDir": container.record.rootfs,
    })
}

fn config(place: &Place, container: &Container) -> Value {
    let record = &container.record;
    let image = container.image.as_ref().and_then(|image| image.config.config().clone());
    let image = image.unwrap_or_default();
    let create = container.definition.as_ref().map(|definition| &definition.create);
    let program = create.map(|create| create.program.clone()).unwrap_or_default();
    let entrypoint = create.and_then(|create| create.entrypoint().ok().flatten());
    let words = create.map(|create| create.command.clone()).unwrap_or_default();
    let command = match (&entrypoint, words.is_empty()) {
        (None, true) => image.cmd().clone().unwrap_or_default(),
        _ => words,
    };
    let arguments = container.definition.iter().flat_map(|definition| &definition.arguments);
    let invocation: Vec<_> =
        std::iter::once("updater-launch").chain(arguments.map(String::as_str)).collect();
    json!({
        "Hostname": create.and_then(|create| create.network.hostname.clone())
            .unwrap_or_else(|| record.id.short().to_owned()),
        "Domainname": "",
        "User": program.user.or(image.user().clone()).unwrap_or_default(),
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": create.is_some_and(|create| create.process.tty),
        "OpenStdin": create.is_some_and(|create| create.process.interactive),
        "StdinOnce": false,
        "Env": environment(place, container, create),
        "Cmd": command,
        "Image": record.reference,
        "Volumes": null,
        "WorkingDir": program.workdir.or(image.working_dir().clone())
            .filter(|directory| !directory.is_empty()).unwrap_or_else(|| "/".to_owned()),
        "Entrypoint": entrypoint.or(image.entrypoint().clone()),
        "OnBuild": null,
        "Labels": container.labels(),
        "Annotations": create.and_then(|create| asked::annotations(&create.identity.annotation).ok())
            .unwrap_or_default(),
        "StopSignal": record.stop_signal,
        "StopTimeout": record.stop_timeout,
        "Timezone": create.and_then(|create| create.program.tz.as_deref()).unwrap_or_default(),
        "Umask": format!("{:04o}", create.and_then(|create| create.program.umask).unwrap_or(umask::DEFAULT)),
        "Timeout": create.map_or(0, |create| create.service.timeout),
        "CreateCommand": invocation,
        "SystemdMode": false,
        "sdNotifyMode": create.map(|create| create.service.sdnotify),
    })
}

/// As its last start had it; before that, what image and operator set.
fn environment(place: &Place, container: &Container, create: Option<&Create>) -> Vec<String> {
    if let Ok(defaults) = ExecDefaults::read(place, &container.record.id) {
        return defaults.environment;
    }
    let image = container.image.as_ref().and_then(|image| image.config.config().clone());
    let of_image = image.as_ref().and_then(|image| image.env().clone()).unwrap_or_default();
    let Some(create) = create else { return of_image };
    let mut environment = create.environment.inherited(&of_image).environment().unwrap_or_default();
    for variable in &create.program.env {
        environment.inherit(variable);
    }
    environment.to_strings()
}
