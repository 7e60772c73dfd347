//! `updater-launch run`: from a command line to a container's exit status.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use oci_spec::image::Config as ImageConfig;
use oci_spec::runtime::Spec;

use crate::launch::args::{Network, Run, SdNotify};
use crate::launch::isolation::capability::{Capabilities, available};
use crate::launch::isolation::cgroup::{Location, Payload};
use crate::launch::isolation::limits::Limits;
use crate::launch::isolation::{cgroup, devices};
use crate::launch::lifecycle::detach::Handover;
use crate::launch::lifecycle::traces::Traces;
use crate::launch::lifecycle::{choose, containers, detach, name, traces};
use crate::launch::place::Place;
use crate::launch::process::defaults::ExecDefaults;
use crate::launch::process::environment::{DEFAULT_PATH, Environment};
use crate::launch::process::{activation, user};
use crate::launch::spec::{Program, Wanted, spec};
use crate::launch::storage::fill::Filled;
use crate::launch::storage::mounts::Bound;
use crate::launch::storage::rootfs::Rootfs;
use crate::launch::storage::volume::{
    Volume, of_image, parse_bind, parse_tmpfs, refuse_twice, writable_places,
};
use crate::launch::storage::{files, writable};
use crate::launch::supervise::notify::{
    DIRECTORY_IN_CONTAINER, Notifier, Proxy, SOCKET_IN_CONTAINER,
};
use crate::launch::supervise::output::Output;
use crate::launch::supervise::{Init, Signals, Stop, Supervisor, output, signal};
use crate::launch::{Error, host_environment, runtime};
use crate::model::{ContainerId, Reference};
use crate::store::Image;
use crate::store::containers::{Process, Record};

pub(crate) fn run(place: &Place, flags: &Run) -> Result<u8, Error> {
    // All that can be wrong with the command line, before anything is touched.
    let asked = Asked::read(flags)?;
    let notifier = Notifier::from_environment();
    let location = Location::find()?;
    let image = choose::image(place, flags, &asked.reference, location.unit().as_ref(), &notifier)?;
    // The image is there: whoever interrupts a pull has interrupted all.
    let handover = if flags.detach { detach::detach()? } else { Handover::none() };
    if let Some(status) = handover.exit_status() {
        return Ok(status);
    }
    let chosen = Chosen { asked, image, location };
    handover.outcome(launch(place, flags, chosen, &notifier, &handover))
}

/// What is known before the supervisor is on its own.
struct Chosen {
    asked: Asked,
    image: Image,
    location: Location,
}

/// What the command line asks for, checked.
struct Asked {
    reference: Reference,
    labels: BTreeMap<String, String>,
    environment: Vec<String>,
    volumes: Vec<Volume>,
    entrypoint: Option<Vec<String>>,
    /// Absolute: others read it from the record, wherever they are.
    authfile: Option<PathBuf>,
    cidfile: Option<PathBuf>,
}

impl Asked {
    fn read(flags: &Run) -> Result<Self, Error> {
        let mut environment = Environment::default();
        let host = host_environment();
        for path in &flags.env_file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Error::file("read", path, source))?;
            let failed = |(line, source)| Error::EnvFile { path: path.clone(), line, source };
            environment.apply_file(&text, &host).map_err(failed)?;
        }
        for variable in &flags.env {
            environment.apply(variable, &host).map_err(Error::Variable)?;
        }
        Ok(Self {
            reference: flags.image.parse()?,
            labels: labels(&flags.label)?,
            environment: environment.to_strings(),
            volumes: volumes(flags)?,
            entrypoint: flags.entrypoint.as_deref().map(entrypoint).transpose()?,
            authfile: flags.registry.authfile.as_deref().map(absolute).transpose()?,
            cidfile: flags.cidfile.as_deref().map(absolute).transpose()?,
        })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::file("find", path, source))
}

fn labels(words: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let pair = |word: &String| match word.split_once('=').unwrap_or((word, "")) {
        ("", _) => Err(Error::Label(word.clone())),
        (key, value) => Ok((key.to_owned(), value.to_owned())),
    };
    words.iter().map(pair).collect()
}

fn volumes(flags: &Run) -> Result<Vec<Volume>, Error> {
    let selinux = Path::new("/sys/fs/selinux/enforce").exists();
    let mut volumes = Vec::new();
    for text in &flags.volume {
        let mut volume = parse_bind(text, selinux)?;
        if let Some(source) = &mut volume.source {
            *source = std::fs::canonicalize(&*source)
                .map_err(|error| Error::file("use the volume", &*source, error))?;
        }
        volumes.push(volume);
    }
    for text in &flags.tmpfs {
        volumes.push(parse_tmpfs(text)?);
    }
    refuse_twice(&volumes)?;
    Ok(volumes)
}

/// One word, or a JSON list of words (podman-run(1), `--entrypoint`).
fn entrypoint(text: &str) -> Result<Vec<String>, Error> {
    if text.starts_with('[') {
        serde_json::from_str(text).map_err(|_| Error::Entrypoint(text.to_owned()))
    } else {
        Ok(Some(text).filter(|text| !text.is_empty()).map(str::to_owned).into_iter().collect())
    }
}

/// The command: the image's entrypoint and command, each replaced by what was asked for. Another
/// entrypoint drops the image's command.
fn command(asked: &Asked, flags: &Run, image: &ImageConfig) -> Result<Vec<String>, Error> {
    let mut words = match &asked.entrypoint {
        Some(words) => words.clone(),
        None => image.entrypoint().clone().unwrap_or_default(),
    };
    if !flags.command.is_empty() {
        words.extend_from_slice(&flags.command);
    } else if asked.entrypoint.is_none() {
        words.extend(image.cmd().clone().unwrap_or_default());
    }
    if words.is_empty() { Err(Error::NoCommand) } else { Ok(words) }
}

fn launch(
    place: &Place,
    flags: &Run,
    chosen: Chosen,
    notifier: &Notifier,
    handover: &Handover,
) -> Result<u8, Error> {
    let Chosen { asked, image, location } = chosen;
    let config = image.config.config().clone().unwrap_or_default();
    let stop_signal = flags.stop_signal.clone().or(config.stop_signal().clone());
    let stop_signal = stop_signal.unwrap_or_else(|| "SIGTERM".to_owned());
    let stop = Stop {
        signal: signal::parse(&stop_signal)?,
        timeout: Duration::from_secs(flags.stop_timeout.into()),
    };
    let id =
        name::new_id().ok_or_else(|| Error::system("make an ID", std::io::ErrorKind::Other))?;
    let mut record = Record {
        name: flags.name.clone().unwrap_or_else(|| format!("container-{}", id.short())),
        reference: asked.reference.clone(),
        authfile: asked.authfile.clone(),
        image: image.identity.clone(),
        labels: asked.labels.clone(),
        image_labels: config.labels().clone().unwrap_or_default().into_iter().collect(),
        unit: location.unit(),
        supervisor: Process::current().map_err(|error| Error::system("find myself", error))?,
        pid: None,
        cgroup: None,
        command: command(&asked, flags, &config)?,
        created: Timestamp::now(),
        started: None,
        rootfs: place.records().directory(&id).join("rootfs"),
        stop_signal,
        stop_timeout: flags.stop_timeout,
        log_driver: output::name(output::effective(flags.log_driver, flags.detach)).to_owned(),
        remove: flags.rm,
        cidfile: asked.cidfile.clone(),
        id,
    };
    let payload = location.payload(flags.cgroups, &record.id);
    record.cgroup = Some(payload.path.clone());
    // A stop may interrupt this: nothing has been begun yet.
    traces::reconcile(place);
    let mut signals = Signals::take()?;
    containers::take_name(place, &record, flags.replace, notifier, &mut signals)?;
    let mut traces = Traces::new(place, record.id.clone());
    traces.writable = Some(writable::claim(place, &record.id)?);
    if let Some(path) = &asked.cidfile {
        containers::write_cidfile(path, &record.id)?;
        traces.cidfile = Some(path.clone());
    }
    signals.check()?;
    payload.make()?;
    traces.payload = Some(payload.clone());
    let prepared =
        Prepared { flags, asked: &asked, image: &image, config: &config, payload: &payload };
    let status = start_and_wait(place, prepared, &mut record, stop, signals, notifier, handover)?;
    traces.keep = !flags.rm;
    Ok(status)
}

struct Prepared<'a> {
    flags: &'a Run,
    asked: &'a Asked,
    image: &'a Image,
    config: &'a ImageConfig,
    payload: &'a Payload,
}

fn start_and_wait(
    place: &Place,
    prepared: Prepared<'_>,
    record: &mut Record,
    stop: Stop,
    mut signals: Signals,
    notifier: &Notifier,
    handover: &Handover,
) -> Result<u8, Error> {
    let flags = prepared.flags;
    let bundle = place.records().directory(&record.id);
    let rootfs = Rootfs::mount(prepared.image, &place.writable(&record.id), record.rootfs.clone())?;
    let inside = notify_inside(flags, notifier);
    let proxy = if inside {
        let made = Proxy::bind(&bundle.join("notify"));
        Some(made.map_err(|source| Error::file("make", bundle.join("notify"), source))?)
    } else {
        None
    };
    let (process, filled) = describe(place, &prepared, record, &rootfs, inside)?;
    confine_devices(&prepared, &process.capabilities)?;
    signals.check()?;
    let (output, streams) =
        Output::open(output::effective(flags.log_driver, flags.detach), record)?;
    let init = runtime::start(&record.id, &place.runtime(), &bundle, &process, streams)?;
    drop(filled);
    let init = Init::new(init);
    if let Some(shared) = prepared.payload.settle()? {
        share_cgroup(&bundle.join("config.json"), shared)?;
        record.cgroup = None;
    }
    record.pid = Process::of(init.pid()).ok();
    record.started = Some(Timestamp::now());
    place.records().write(record)?;
    announce(flags, notifier, inside);
    handover.started(&record.id)?;
    let supervisor = Supervisor { init, stop, signals, output, notifier, proxy };
    supervisor.wait()
}

/// What `exec` starts later belongs beside the container. In a cgroup that is gone, the runtime
/// would make it again, and enable every controller from the root down to it.
fn share_cgroup(config: &Path, cgroup: &str) -> Result<(), Error> {
    let failed = |error: oci_spec::OciSpecError| Error::Spec(error.to_string());
    let mut spec = Spec::load(config).map_err(failed)?;
    if let Some(linux) = spec.linux_mut() {
        linux.set_cgroups_path(Some(cgroup.into()));
    }
    spec.save(config).map_err(failed)
}

/// Only a container that could reach any device is confined to some; it must stay where it is.
fn confine_devices(prepared: &Prepared<'_>, capabilities: &Capabilities) -> Result<(), Error> {
    if !devices::REACH_DEVICES.iter().any(|name| capabilities.has(name)) {
        return Ok(());
    }
    if prepared.flags.cgroups == Some(cgroup::Mode::Disabled) {
        return Err(Error::Devices);
    }
    let directory = prepared.payload.directory();
    devices::confine(&directory, &devices::allowed(&prepared.asked.volumes))
        .map_err(|source| Error::file("confine the devices of cgroup", directory, source))
}

fn notify_inside(flags: &Run, notifier: &Notifier) -> bool {
    flags.sdnotify == SdNotify::Container && notifier.is_there()
}

/// Tells systemd which process to watch, and that the service is up where that is ours to say.
fn announce(flags: &Run, notifier: &Notifier, inside: bool) {
    let main = format!("MAINPID={}", std::process::id());
    match flags.sdnotify {
        SdNotify::Ignore => {}
        SdNotify::Container if inside => notifier.send(&main),
        SdNotify::Container | SdNotify::Conmon => notifier.send(&format!("{main}\nREADY=1")),
    }
}

/// Writes what the runtime, and later `exec`, need to know.
fn describe(
    place: &Place,
    prepared: &Prepared<'_>,
    record: &Record,
    rootfs: &Rootfs,
    inside: bool,
) -> Result<(runtime::Prepared, Filled), Error> {
    let Prepared { flags, asked, config, payload, .. } = prepared;
    let user_text = flags.user.clone().or(config.user().clone()).unwrap_or_default();
    let user = user::resolve(&user_text, &rootfs.read("/etc/passwd"), &rootfs.read("/etc/group"))?;
    let hostname = hostname(flags, &record.id);
    let mut environment = environment(asked, config, &hostname, inside);
    let directory = directory(flags, config)?;
    let is_hosts = |volume: &Volume| {
        volume.source.is_some() && Path::new(&directory).starts_with(&volume.target)
    };
    if flags.workdir.is_none() && !asked.volumes.iter().any(is_hosts) {
        rootfs.make_directory(&directory, &user)?;
    }
    let filled = fill(place, prepared, record, rootfs)?;
    let all = available();
    let capabilities = Capabilities::new(&flags.cap_add, &flags.cap_drop, user.uid, &all)?;
    let bundle = place.records().directory(&record.id);
    let mut bound = files::write(&bundle, &hostname, flags.network)?;
    if inside {
        bound.push(Bound { source: bundle.join("notify"), target: DIRECTORY_IN_CONTAINER });
    }
    let defaults = ExecDefaults {
        user: user_text,
        environment: environment.to_strings(),
        directory: directory.clone(),
        cap_add: flags.cap_add.clone(),
        cap_drop: flags.cap_drop.clone(),
        available: all,
    };
    defaults.write(place, &record.id)?;
    environment.set_default("HOME", user.home.as_deref().unwrap_or("/"));
    let wanted = Wanted {
        rootfs: rootfs.path(),
        read_only: flags.read_only,
        hostname: &hostname,
        network: flags.network,
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
    let spec = spec(wanted).map_err(|error| Error::Spec(error.to_string()))?;
    spec.save(bundle.join("config.json")).map_err(|error| Error::Spec(error.to_string()))?;
    Ok((runtime::Prepared { uid: user.uid, directory, capabilities }, filled))
}

/// The volumes, and what a read-only root file system needs besides.
fn fill(
    place: &Place,
    prepared: &Prepared<'_>,
    record: &Record,
    rootfs: &Rootfs,
) -> Result<Filled, Error> {
    let mut volumes = prepared.asked.volumes.clone();
    let mut own = Vec::new();
    if prepared.flags.read_only {
        volumes.extend(writable_places(&volumes));
        own = of_image(prepared.config.volumes().as_deref().unwrap_or_default(), &volumes);
    }
    Filled::new(&volumes, &own, rootfs, &place.writable(&record.id).join("volumes"))
}

fn hostname(flags: &Run, id: &ContainerId) -> String {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    match (&flags.hostname, flags.network) {
        (Some(name), _) => name.clone(),
        (None, Network::Host) => host(),
        (None, Network::None) => id.short().to_owned(),
    }
}

fn directory(flags: &Run, config: &ImageConfig) -> Result<String, Error> {
    match &flags.workdir {
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
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrypoint_is_a_word_or_a_list() {
        assert_eq!(entrypoint("/bin/x").unwrap(), ["/bin/x"]);
        assert_eq!(entrypoint("[\"a\",\"b c\"]").unwrap(), ["a", "b c"]);
        assert!(entrypoint("").unwrap().is_empty());
        assert!(entrypoint("[a").is_err());
    }

    #[test]
    fn labels_need_a_key() {
        let words = ["a=b=c".to_owned(), "d".to_owned()];
        let read = labels(&words).unwrap();
        assert_eq!((&*read["a"], &*read["d"]), ("b=c", ""));
        assert!(labels(&["=x".to_owned()]).is_err());
    }
}
