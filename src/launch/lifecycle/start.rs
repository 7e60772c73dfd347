//! Starting a container that has a definition, and waiting for its end.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use oci_spec::image::Config as ImageConfig;
use oci_spec::runtime::Spec;

use crate::launch::args::{Create, SdNotify};
use crate::launch::isolation::cgroup::{self, Location, Payload};
use crate::launch::isolation::devices;
use crate::launch::lifecycle::asked::Asked;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::lifecycle::describe::{Described, describe};
use crate::launch::lifecycle::detach::Handover;
use crate::launch::lifecycle::readiness;
use crate::launch::lifecycle::traces::{Traces, remove_runtime};
use crate::launch::place::Place;
use crate::launch::pod::members;
use crate::launch::process::activation;
use crate::launch::storage::devices::Node;
use crate::launch::storage::hold::Held;
use crate::launch::storage::rootfs::Rootfs;
use crate::launch::storage::volume::Volume;
use crate::launch::storage::{stage, writable};
use crate::launch::supervise::notify::{Notifier, Proxy};
use crate::launch::supervise::output::{self, Output};
use crate::launch::supervise::{Init, Signals, Stop, Supervisor, signal};
use crate::launch::{Error, runtime};
use crate::model::Scope;
use crate::store::Image;
use crate::store::containers::{Ended, Process, Record};

/// A container that this process is the supervisor of; its record says so already.
pub(crate) struct Start<'a> {
    pub(crate) definition: Definition,
    pub(crate) image: Image,
    pub(crate) location: Location,
    pub(crate) signals: Signals,
    pub(crate) notifier: &'a Notifier,
    pub(crate) handover: &'a Handover,
    /// Nothing but its name and record is there yet: where it cannot be started, nothing stays.
    pub(crate) new: bool,
}

/// Starts the container and waits for its end; its exit status.
pub(crate) fn start(place: &Place, start: Start<'_>) -> Result<u8, Error> {
    let Start { mut definition, image, location, mut signals, notifier, handover, new } = start;
    let create = definition.create.clone();
    let mut traces = Traces::new(place, definition.record.id.clone());
    traces.keep = !new;
    traces.writable = Some(writable::claim(place, &definition.record.id)?);
    if new {
        definition.write(place)?;
        if let Some(path) = &definition.record.cidfile {
            containers::write_cidfile(path, &definition.record.id)?;
            traces.cidfile = Some(path.clone());
        }
    } else {
        // Those of its last run.
        remove_runtime(place, &definition.record.id);
    }
    signals.check()?;
    let asked = Asked::read(&create)?;
    let config = image.config.config().clone().unwrap_or_default();
    let payload = location.payload(create.service.cgroups, &definition.record.id);
    definition.record.cgroup = Some(payload.path.clone());
    place.records().write(&definition.record)?;
    payload.make()?;
    traces.payload = Some(payload.clone());
    let prepared = Prepared {
        create: &create,
        asked: &asked,
        image: &image,
        config: &config,
        payload: &payload,
        volumes: &definition.volumes,
    };
    let record = &mut definition.record;
    let status = start_and_wait(place, &prepared, record, signals, notifier, handover)?;
    traces.keep = !create.identity.rm;
    if traces.keep {
        stage::clear(place, &definition.record.id);
        definition.record.ended = Some(Ended { status, at: Timestamp::now() });
        place.records().write(&definition.record)?;
        definition.write(place)?;
    }
    if let Some(pod) = &definition.record.pod {
        members::one_ended(place, pod, &definition.record.id)?;
    }
    Ok(status)
}

/// All that a container is started from.
pub(crate) struct Prepared<'a> {
    pub(crate) create: &'a Create,
    pub(crate) asked: &'a Asked,
    pub(crate) image: &'a Image,
    pub(crate) config: &'a ImageConfig,
    pub(crate) payload: &'a Payload,
    pub(crate) volumes: &'a [Volume],
}

fn start_and_wait(
    place: &Place,
    prepared: &Prepared<'_>,
    record: &mut Record,
    mut signals: Signals,
    notifier: &Notifier,
    handover: &Handover,
) -> Result<u8, Error> {
    let service = &prepared.create.service;
    let stop = Stop {
        signal: signal::parse(&record.stop_signal)?,
        timeout: Duration::from_secs(record.stop_timeout.into()),
    };
    let bundle = place.records().directory(&record.id);
    // Dropped last: it goes back to the host's mount namespace.
    let held = Held::take(place, prepared.volumes)?;
    let rootfs = Rootfs::mount(prepared.image, &place.writable(&record.id), record.rootfs.clone())?;
    let inside = service.sdnotify == SdNotify::Container && notifier.is_there();
    let proxy = if inside {
        let made = Proxy::bind(&bundle.join("notify"));
        Some(made.map_err(|source| Error::file("make", bundle.join("notify"), source))?)
    } else {
        None
    };
    let described = describe(place, prepared, record, &rootfs, &held, inside)?;
    confine_devices(place, prepared, &described)?;
    signals.check()?;
    let driver = output::effective(service.log_driver, handover.is_detached());
    record.log_driver = output::name(driver).to_owned();
    let (output, streams) = Output::open(driver, record)?;
    let init = runtime::start(&record.id, &place.runtime(), &bundle, &described.process, streams)?;
    // The container has its own mounts by now.
    drop(described.staged);
    let init = Init::new(init);
    activation::release();
    if let Some(shared) = prepared.payload.settle()? {
        share_cgroup(&bundle.join("config.json"), shared)?;
        record.cgroup = None;
    }
    record.pid = Process::of(init.pid()).ok();
    record.started = Some(Timestamp::now());
    place.records().write(record)?;
    readiness::announce(service.sdnotify, notifier, inside, activation::watchdog());
    handover.started(record.id.as_str())?;
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

/// A container that could reach any device is confined to some, and so is one that may do less with
/// a device than its node allows; it must stay where it is.
fn confine_devices(
    place: &Place,
    prepared: &Prepared<'_>,
    described: &Described,
) -> Result<(), Error> {
    // Of a user namespace, no node can be opened that is on a file system mounted in it.
    if place.scope == Scope::User {
        return Ok(());
    }
    let capabilities = &described.process.capabilities;
    let reaches = devices::REACH_DEVICES.iter().any(|name| capabilities.has(name));
    if !reaches && !described.devices.iter().any(Node::is_restricted) {
        return Ok(());
    }
    if prepared.create.service.cgroups == Some(cgroup::Mode::Disabled) {
        return Err(Error::Devices);
    }
    let directory = prepared.payload.directory();
    let given = described.devices.iter().filter_map(Node::rule);
    devices::confine(&directory, &devices::allowed(prepared.volumes, given))
        .map_err(|source| Error::file("confine the devices of cgroup", directory, source))
}
