//! What the runtime, and later `exec`, are told of a container: from its flags, its image and its
//! root file system.

use std::path::Path;

use oci_spec::image::Config as ImageConfig;

use crate::launch::args::Create;
use crate::launch::isolation::capability::{Capabilities, available};
use crate::launch::isolation::limits::Limits;
use crate::launch::isolation::namespaces::{Namespace, Namespaces};
use crate::launch::lifecycle::asked::{self, Asked};
use crate::launch::lifecycle::start::Prepared;
use crate::launch::lifecycle::surroundings::Surroundings;
use crate::launch::place::Place;
use crate::launch::pod::join::Joined;
use crate::launch::process::defaults::ExecDefaults;
use crate::launch::process::environment::{DEFAULT_PATH, Environment};
use crate::launch::process::{activation, systemd, user};
use crate::launch::spec::{Program, Wanted, spec};
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
    let user = user::resolve(&user_text, &rootfs.read("/etc/passwd"), &rootfs.read("/etc/group"))?;
    let Surroundings { pod, hostname, names, .. } = around;
    let mut environment = environment(asked, config, hostname, inside);
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
    let filled = fill(place, prepared, record, rootfs)?;
    let all = available();
    let capabilities =
        Capabilities::new(&create.isolation.cap_add, &create.isolation.cap_drop, user.uid, &all)?;
    let bundle = place.records().directory(&record.id);
    let mut bound = files::write(&bundle, hostname, names)?;
    if inside {
        bound.push(Bound { source: bundle.join("notify"), target: DIRECTORY_IN_CONTAINER });
    }
    let defaults = ExecDefaults {
        user: user_text,
        environment: environment.to_strings(),
        directory: directory.clone(),
        cap_add: create.isolation.cap_add.clone(),
        cap_drop: create.isolation.cap_drop.clone(),
        available: all,
    };
    defaults.write(place, &record.id)?;
    environment.set_default("HOME", user.home.as_deref().unwrap_or("/"));
    let wanted = Wanted {
        rootfs: rootfs.path(),
        read_only: create.storage.read_only,
        hostname,
        kernel: kernel(place, around),
        namespaces: &namespaces(around.network.clone(), pod.as_ref()),
        cgroup: &payload.path,
        volumes: filled.volumes(),
        files: &bound,
        process: Program {
            user: &user,
            arguments: record.command.clone(),
            environment: environment.to_strings().into_iter().chain(activation::names()).collect(),
            directory: &directory,
            capabilities: &capabilities,
            limits: Limits::current(),
        },
    };
    let mut spec = spec(wanted).map_err(|error| Error::Spec(error.to_string()))?;
    if is_systemd {
        systemd::open_cgroup(&mut spec);
    }
    spec.save(bundle.join("config.json")).map_err(|error| Error::Spec(error.to_string()))?;
    Ok((runtime::Prepared { uid: user.uid, directory, capabilities }, filled))
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
) -> Result<Filled, Error> {
    let mut volumes = prepared.asked.volumes.clone();
    volumes.extend(prepared.around.pod.as_ref().and_then(Joined::shm));
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
