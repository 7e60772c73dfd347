//! What the runtime, and later `exec`, are told of a container: from its flags, its image and its
//! root file system.

use std::path::Path;

use oci_spec::image::Config as ImageConfig;

use crate::launch::args::Create;
use crate::launch::isolation::capability::{Capabilities, available};
use crate::launch::isolation::namespaces::{Namespace, Namespaces};
use crate::launch::lifecycle::asked::{self, Asked, ZONES};
use crate::launch::lifecycle::confine::{self, Confinement};
use crate::launch::lifecycle::start::Prepared;
use crate::launch::lifecycle::surroundings::Surroundings;
use crate::launch::place::Place;
use crate::launch::pod::join::Joined;
use crate::launch::process::defaults::ExecDefaults;
use crate::launch::process::environment::{DEFAULT_PATH, Environment};
use crate::launch::process::{activation, systemd, time_zone, user};
use crate::launch::spec::{Program, Wanted, spec};
use crate::launch::storage::dangling;
use crate::launch::storage::files;
use crate::launch::storage::fill::Filled;
use crate::launch::storage::mounts::{self, Bound, Kernel};
use crate::launch::storage::rootfs::Rootfs;
use crate::launch::storage::volume::{Volume, of_image, writable_places};
use crate::launch::supervise::notify::{DIRECTORY_IN_CONTAINER, SOCKET_IN_CONTAINER};
use crate::launch::{Error, runtime, userns};
use crate::model::Scope;
use crate::store::containers::Record;

/// The group that owns terminals, on every Linux.
const TTY: u32 = 5;

/// Writes what the runtime, and later `exec`, need to know.
pub(crate) fn describe(
    place: &Place,
    prepared: &Prepared<'_>,
    record: &Record,
    rootfs: &Rootfs,
    inside: bool,
) -> Result<(runtime::Prepared, Filled), Error> {
    let Prepared { create, asked, config, payload, around, .. } = prepared;
    let user_text = create.program.user.clone().or(config.user().clone()).unwrap_or_default();
    let attributes = confine::attributes(create, asked);
    let groups = rootfs.read("/etc/group");
    let user = user::resolve(&user_text, &rootfs.read("/etc/passwd"), &groups)?
        .with_groups(&attributes.groups, &groups)?;
    let pod = around.pod.as_ref();
    let bundle = place.records().directory(&record.id);
    let namespaces = namespaces(around.network.clone(), pod);
    let mut confinement = Confinement::new(place, create, asked, namespaces, &bundle)?;
    let shared_name = confinement.hostname.take();
    let hostname = shared_name.unwrap_or_else(|| around.hostname.clone());
    let mut environment = environment(asked, config, &hostname, inside);
    let is_systemd = asked::is_systemd(create, &record.command)?;
    if is_systemd {
        environment.set("container_uuid", systemd::uuid(&record.id));
    }
    let directory = directory(create, config)?;
    let is_hosts = |volume: &Volume| {
        volume.source.is_some() && Path::new(&directory).starts_with(&volume.target)
    };
    if create.program.workdir.is_none() && !asked.volumes.iter().any(is_hosts) {
        rootfs.make_directory(&directory, &user)?;
    }
    let shared = shared_memory(create, pod, &mut confinement);
    let filled = fill(place, prepared, record, rootfs, shared)?;
    let all = available();
    let cap_add = create.isolation.all_added();
    let capabilities = Capabilities::new(&cap_add, &create.isolation.cap_drop, user.uid, &all)?;
    let privileged = create.isolation.privileged;
    let (of, filter) =
        confine::filter(place, &record.id, &asked.security, privileged, &capabilities)?;
    let mut bound = files::write(&bundle, &hostname, &around.names.knowing(&hostname))?;
    bound.extend(time_zone(create, rootfs, &bundle)?);
    if inside {
        bound.push(Bound { source: bundle.join("notify"), target: DIRECTORY_IN_CONTAINER });
    }
    let defaults = ExecDefaults {
        user: user_text,
        environment: environment.to_strings(),
        directory: directory.clone(),
        cap_add,
        cap_drop: create.isolation.cap_drop.clone(),
        available: all,
        attributes: attributes.clone(),
        filter: of,
        privileged,
        devices: prepared.devices(),
    };
    defaults.write(place, &record.id)?;
    environment.set_default("HOME", user.home.as_deref().unwrap_or("/"));
    let wanted = Wanted {
        rootfs: rootfs.path(),
        read_only: create.storage.read_only,
        hostname: &hostname,
        kernel: kernel(place, around),
        namespaces: &confinement.namespaces,
        view: std::mem::take(&mut confinement.view),
        cgroup: &payload.path,
        volumes: filled.volumes(),
        files: &bound,
        process: Program {
            user: &user,
            arguments: record.command.clone(),
            environment: environment.to_strings().into_iter().chain(activation::names()).collect(),
            directory: &directory,
            capabilities: &capabilities,
            terminal: create.process.tty,
            attributes: &attributes,
        },
    };
    let mut spec = spec(wanted).map_err(|error| Error::Spec(error.to_string()))?;
    if is_systemd {
        systemd::open_cgroup(&mut spec);
    }
    spec.save(bundle.join("config.json")).map_err(|error| Error::Spec(error.to_string()))?;
    let process = runtime::Prepared {
        uid: user.uid,
        directory,
        capabilities,
        filter,
        keep_groups: user::keeps_groups(&attributes.groups),
        oom_score: attributes.oom_score,
        _held: confinement.held,
    };
    Ok((process, filled))
}

/// What the user namespace that this process is in leaves of the kernel's file systems.
fn kernel(place: &Place, around: &Surroundings) -> Kernel {
    match place.scope {
        Scope::System => Kernel::default(),
        Scope::User => Kernel {
            host_sysfs: !around.is_own_network || mounts::is_read_only("/sys"),
            no_tty_group: !userns::has_group(TTY),
        },
    }
}

/// The volumes, and what a read-only root file system needs besides.
fn fill(
    place: &Place,
    prepared: &Prepared<'_>,
    record: &Record,
    rootfs: &Rootfs,
    shared: Vec<Volume>,
) -> Result<Filled, Error> {
    let mut volumes = prepared.asked.volumes.clone();
    let is_free = |one: &Volume| volumes.iter().all(|volume| volume.target != one.target);
    let shared: Vec<_> = shared.into_iter().filter(is_free).collect();
    volumes.extend(shared);
    if asked::is_systemd(prepared.create, &record.command)? {
        volumes.extend(systemd::places(&volumes)?);
    }
    let mut own = Vec::new();
    if prepared.create.storage.read_only {
        volumes.extend(writable_places(&volumes));
        own = of_image(prepared.config.volumes().as_deref().unwrap_or_default(), &volumes);
    }
    Filled::new(&volumes, &own, rootfs, &place.writable(&record.id).join("volumes"))
}

/// Shared memory that is not the container's own: its pod's, or that of whoever was named.
fn shared_memory(
    create: &Create,
    joined: Option<&Joined>,
    confinement: &mut Confinement,
) -> Vec<Volume> {
    let of_pod = joined.filter(|_| create.isolation.ipc.is_none()).and_then(Joined::shm);
    of_pod.into_iter().chain(std::mem::take(&mut confinement.volumes)).collect()
}

/// The container's time zone, where it has one.
fn time_zone(create: &Create, rootfs: &Rootfs, bundle: &Path) -> Result<Option<Bound>, Error> {
    let Some(zone) = &create.program.tz else { return Ok(None) };
    let (file, source) = (time_zone::file(zone, Path::new(ZONES))?, bundle.join("localtime"));
    std::fs::copy(&file, &source).map_err(|error| Error::file("copy", file, error))?;
    let target = "/etc/localtime";
    dangling::remove(rootfs.path(), Path::new(target))
        .map_err(|error| Error::file("make way at", target, error.into()))?;
    Ok(Some(Bound { source, target }))
}

fn namespaces(network: Namespace, joined: Option<&Joined>) -> Namespaces {
    let mut namespaces = Namespaces { network, ..Namespaces::default() };
    if let Some(joined) = joined {
        joined.share(&mut namespaces);
    }
    namespaces
}

fn directory(create: &Create, config: &ImageConfig) -> Result<String, Error> {
    match &create.program.workdir {
        Some(directory) if !directory.starts_with('/') => Err(Error::Workdir(directory.clone())),
        Some(directory) => Ok(directory.clone()),
        // An image's is one from its root, whether it says so or not.
        None => {
            let directory = config.working_dir().as_deref().unwrap_or_default();
            Ok(format!("/{}", directory.trim_start_matches('/')))
        }
    }
}

/// All but `HOME`, which is a matter of the user.
fn environment(asked: &Asked, config: &ImageConfig, hostname: &str, inside: bool) -> Environment {
    let mut environment = Environment::default();
    for variable in config.env().iter().flatten().chain(&asked.environment) {
        environment.inherit(variable);
    }
    environment.set_default("PATH", DEFAULT_PATH);
    environment.set_default("TERM", "xterm");
    environment.set_default("HOSTNAME", hostname);
    environment.set_default("container", "updaterd");
    if inside {
        environment.set("NOTIFY_SOCKET", SOCKET_IN_CONTAINER);
        if let Some(interval) = activation::watchdog() {
            // Without WATCHDOG_PID: whichever process of the container it is that pings.
            environment.set("WATCHDOG_USEC", interval.as_micros().to_string());
        }
    }
    environment
}
