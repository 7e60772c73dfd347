//! What the runtime, and later `exec`, are told of a container: from its flags, its image and its
//! root file system.

use std::path::Path;

use oci_spec::image::Config as ImageConfig;

use crate::launch::args::Create;
use crate::launch::isolation::capability::{Capabilities, available};
use crate::launch::isolation::namespaces::{Namespace, Namespaces};
use crate::launch::lifecycle::asked::{self, Asked, ZONES};
use crate::launch::lifecycle::confine::{self, Confinement};
use crate::launch::lifecycle::people::People;
use crate::launch::lifecycle::start::Prepared;
use crate::launch::lifecycle::surroundings::Surroundings;
use crate::launch::place::Place;
use crate::launch::pod::join::Joined;
use crate::launch::process::defaults::ExecDefaults;
use crate::launch::process::environment::{DEFAULT_PATH, Environment};
use crate::launch::process::user::User;
use crate::launch::process::{activation, init, systemd, time_zone, user};
use crate::launch::spec::{Program, Wanted, spec};
use crate::launch::storage::dangling;
use crate::launch::storage::devices::{self, Node};
use crate::launch::storage::mounts::{self, Bound, Kernel};
use crate::launch::storage::rootfs::Rootfs;
use crate::launch::storage::secrets::{self, Files};
use crate::launch::storage::stage::{Staged, Staging};
use crate::launch::storage::volume::{Volume, writable_places};
use crate::launch::storage::{files, settle};
use crate::launch::supervise::notify::{DIRECTORY_IN_CONTAINER, SOCKET_IN_CONTAINER};
use crate::launch::userns::own::Own;
use crate::launch::{Error, runtime, userns};
use crate::store::containers::Record;

/// The group that owns terminals, on every Linux.
const TTY: u32 = 5;

/// What the runtime takes besides the specification.
pub(crate) struct Described {
    pub(crate) process: runtime::Prepared,
    /// To be kept until the container has its own mounts.
    pub(crate) staged: Staged,
    pub(crate) devices: Vec<Node>,
}

/// Writes what the runtime, and later `exec`, need to know.
pub(crate) fn describe(
    place: &Place,
    prepared: &Prepared<'_>,
    record: &Record,
    rootfs: &Rootfs,
    inside: bool,
) -> Result<Described, Error> {
    let Prepared { create, asked, config, payload, around, .. } = prepared;
    let own = around.own.as_ref();
    let attributes = confine::attributes(create, asked);
    let directory = directory(create, config)?;
    let people = People::find(prepared, rootfs, &directory);
    let user = user::resolve(&people.user, &people.passwd, &people.group)?
        .with_groups(&attributes.groups, &people.group)?
        .beside(around.kept.as_ref().map(|kept| kept.gid));
    let (on_host, on_disk) = (on_host(own, &user)?, on_disk(own, user.uid, user.gid)?);
    let pod = around.pod.as_ref();
    let bundle = place.records().directory(&record.id);
    let namespaces = namespaces(around.network.clone(), pod);
    let mut confinement = Confinement::new(place, create, asked, namespaces, &bundle)?;
    let shared_name = confinement.hostname.take();
    let hostname = shared_name.unwrap_or_else(|| around.hostname.clone());
    let mut environment = environment(create, asked, config, inside)?;
    environment.set_default("HOSTNAME", &hostname);
    let is_systemd = asked::is_systemd(create, &record.command)?;
    if is_systemd {
        environment.set("container_uuid", systemd::uuid(&record.id));
    }
    let is_hosts = settle::is_hosts(prepared.volumes, Path::new(&directory));
    if create.program.workdir.is_none() && !is_hosts {
        rootfs.make_directory(&directory, on_disk)?;
    }
    let nodes = devices::find(&asked.storage.devices)?;
    let (id, held) = (&record.id, prepared.held);
    let staging = Staging { place, id, held, rootfs, on_host, on_disk, own };
    let shared = shared_memory(create, pod, &mut confinement);
    let files = secrets(&staging, prepared, &user)?;
    let mut staged = stage(&staging, prepared, &nodes, &record.command, shared, files)?;
    let made: &[Node] = if !prepared.is_mapped(place) { &nodes } else { &[] };
    devices::refuse_in_volumes(made, staged.volumes())?;
    let all = available();
    let cap_add = create.isolation.all_added();
    let capabilities = Capabilities::new(&cap_add, &create.isolation.cap_drop, user.uid, &all)?;
    let privileged = create.isolation.privileged;
    let (of, filter) =
        confine::filter(place, &record.id, &asked.security, privileged, &capabilities)?;
    let mut bound = files::write(&bundle, &hostname, &around.names.knowing(&hostname))?;
    bound.extend(time_zone(create, rootfs, &bundle)?);
    bound.extend(people.write(&bundle)?);
    if inside {
        bound.push(Bound { source: bundle.join("notify"), target: DIRECTORY_IN_CONTAINER.into() });
    }
    let mut command = record.command.clone();
    bound.extend(init::add(&create.process, is_systemd, &mut command)?);
    let bound = staged.bind(bound)?;
    let defaults = ExecDefaults {
        user: people.user.clone(),
        environment: environment.to_strings(),
        directory: directory.clone(),
        secrets: create.storage.secret.clone(),
        cap_add,
        cap_drop: create.isolation.cap_drop.clone(),
        available: all,
        attributes: attributes.clone(),
        filter: of,
        privileged,
        devices: prepared.devices(&nodes),
    };
    defaults.write(place, &record.id)?;
    environment.set_default("HOME", user.home.as_deref().unwrap_or("/"));
    let files = own_files(prepared);
    let wanted = Wanted {
        rootfs: rootfs.path(),
        own: files,
        hostname: &hostname,
        kernel: kernel(place, prepared, around),
        namespaces: &confinement.namespaces,
        view: std::mem::take(&mut confinement.view),
        cgroup: &payload.path,
        volumes: staged.volumes(),
        files: &bound,
        devices: made,
        process: Program {
            user: &user,
            arguments: command,
            environment: environment.to_strings().into_iter().chain(activation::names()).collect(),
            directory: &directory,
            capabilities: &capabilities,
            terminal: create.process.tty,
            attributes: &attributes,
        },
        annotations: asked::annotations(&create.identity.annotation)?,
    };
    let mut spec = spec(wanted).map_err(|error| Error::Spec(error.to_string()))?;
    if is_systemd {
        systemd::open_cgroup(&mut spec);
    }
    spec.save(bundle.join("config.json")).map_err(|error| Error::Spec(error.to_string()))?;
    let variables = secrets::variables(place, &asked.storage.secrets)?;
    let shares = staged.take_shares();
    let process = runtime::Prepared {
        uid: on_host.0,
        directory,
        capabilities,
        variables,
        frozen: files.frozen,
        shares,
        filter,
        keep_groups: user::keeps_groups(&attributes.groups),
        oom_score: attributes.oom_score,
        member: None,
        _held: confinement.held,
    };
    Ok(Described { process, staged, devices: nodes })
}

/// Who a user of the container is on the host.
fn on_host(own: Option<&Own>, user: &User) -> Result<(u32, u32), Error> {
    let Some(own) = own else { return Ok((user.uid, user.gid)) };
    let uid = own.user(user.uid).ok_or(userns::Error::Unmapped(user.uid))?;
    let gid = own.group(user.gid).ok_or(userns::Error::UnmappedGroup(user.gid))?;
    Ok((uid, gid))
}

/// Who a user and a group of the container are in files that are ours.
fn on_disk(own: Option<&Own>, uid: u32, gid: u32) -> Result<(u32, u32), userns::Error> {
    own.map_or(Ok((uid, gid)), |own| own.on_disk(uid, gid))
}

/// What the user namespace that this process is in leaves of the kernel's file systems.
fn kernel(place: &Place, prepared: &Prepared<'_>, around: &Surroundings) -> Kernel {
    match prepared.is_mapped(place) {
        false => Kernel::default(),
        true => Kernel {
            host_sysfs: !around.is_own_network || mounts::is_read_only("/sys"),
            no_tty_group: !userns::has_group(TTY),
        },
    }
}

fn secrets(
    staging: &Staging<'_>,
    prepared: &Prepared<'_>,
    user: &User,
) -> Result<Files, secrets::Error> {
    let directory = staging.place.writable(staging.id).join("secrets");
    let on_disk = |uid, gid| on_disk(staging.own, uid, gid);
    Files::write(staging.place, &prepared.asked.storage.secrets, user, &on_disk, &directory)
}

/// The volumes and secrets, and what a read-only root file system needs besides.
fn stage(
    staging: &Staging<'_>,
    prepared: &Prepared<'_>,
    nodes: &[Node],
    command: &[String],
    shared: Vec<Volume>,
    files: Files,
) -> Result<Staged, Error> {
    let storage = &prepared.create.storage;
    let mut volumes = prepared.volumes.to_vec();
    volumes.extend_from_slice(files.volumes());
    if prepared.is_mapped(staging.place) {
        for node in nodes {
            volumes.push(node.to_volume()?);
        }
    }
    let mut implied = shared;
    if asked::is_systemd(prepared.create, command)? {
        implied.extend(systemd::places()?);
    }
    if storage.read_only && storage.read_only_tmpfs {
        implied.extend(writable_places());
    }
    let mut staged = staging.stage(&volumes, &implied)?;
    staged.keep(files);
    Ok(staged)
}

fn own_files(prepared: &Prepared<'_>) -> mounts::Own {
    let storage = &prepared.create.storage;
    mounts::Own {
        read_only: storage.read_only,
        shm_size: prepared.asked.storage.shm_size,
        frozen: storage.read_only && !storage.read_only_tmpfs,
    }
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
    Ok(Some(Bound { source, target: target.into() }))
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
fn environment(
    create: &Create,
    asked: &Asked,
    config: &ImageConfig,
    inside: bool,
) -> Result<Environment, Error> {
    let inherited = create.environment.inherited(config.env().as_deref().unwrap_or_default());
    let mut environment = inherited.environment().map_err(Error::Variable)?;
    for variable in &asked.environment {
        environment.inherit(variable);
    }
    environment.set_default("PATH", DEFAULT_PATH);
    environment.set_default("TERM", "xterm");
    environment.set_default("container", "updaterd");
    if inside {
        environment.set("NOTIFY_SOCKET", SOCKET_IN_CONTAINER);
        if let Some(interval) = activation::watchdog() {
            // Without WATCHDOG_PID: whichever process of the container it is that pings.
            environment.set("WATCHDOG_USEC", interval.as_micros().to_string());
        }
    }
    Ok(environment)
}
