//! Starting a container that has a definition, and waiting for its end.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use oci_spec::image::Config as ImageConfig;
use oci_spec::runtime::Spec;

use crate::launch::args::{Create, SdNotify};
use crate::launch::control::server::Control;
use crate::launch::events;
use crate::launch::health::monitor::Monitor;
use crate::launch::health::plan::Plan;
use crate::launch::isolation::cgroup::{Location, Mode, Payload};
use crate::launch::isolation::devices::{self, Device};
use crate::launch::isolation::resources;
use crate::launch::isolation::scope::Kept;
use crate::launch::lifecycle::asked::{self, Asked};
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::lifecycle::describe::{Described, describe};
use crate::launch::lifecycle::detach::Handover;
use crate::launch::lifecycle::readiness;
use crate::launch::lifecycle::restart::{Policy, Restarts};
use crate::launch::lifecycle::surroundings::{self, Surroundings};
use crate::launch::lifecycle::traces::{Traces, remove_runtime};
use crate::launch::network::join::Joined;
use crate::launch::place::Place;
use crate::launch::pod::members;
use crate::launch::process::activation;
use crate::launch::runtime::{Container, Runtime};
use crate::launch::storage::devices::Node;
use crate::launch::storage::hold::Held;
use crate::launch::storage::rootfs::Rootfs;
use crate::launch::storage::volume::Volume;
use crate::launch::storage::{propagation, stage, writable};
use crate::launch::supervise::input::{self, Input};
use crate::launch::supervise::notify::{Notifier, Proxy};
use crate::launch::supervise::output::{self, Output};
use crate::launch::supervise::traffic::Traffic;
use crate::launch::supervise::{
    Duties, End, HealthDuty, Init, Signals, Stop, Supervisor, Wish, signal,
};
use crate::launch::userns::asked::Asked as Users;
use crate::launch::{Error, isolation, network, supervise, userns};
use crate::model::{ContainerId, Scope};
use crate::store::Image;
use crate::store::containers::{Ended, Process, Record};

/// How long the layers of a container of an ordinary user may take to be copied for its users.
const COPYING: Duration = Duration::from_secs(300);

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

/// Starts the container and waits for its end, and starts it again where it is to be; its last exit
/// status.
pub(crate) fn start(place: &Place, start: Start<'_>) -> Result<u8, Error> {
    let Start { mut definition, image, location, mut signals, notifier, handover, new } = start;
    let create = definition.create.clone();
    // Dropped last: it goes back to the host's mount namespace.
    let held;
    let mut traces = Traces::new(place, definition.record.id.clone());
    traces.keep = !new;
    traces.writable = Some(writable::claim(place, &definition.record.id)?);
    if new {
        definition.write(place)?;
        if let Some(path) = &definition.record.cidfile {
            containers::write_cidfile(path, &definition.record.id)?;
            traces.cidfile = Some(path.clone());
        }
    }
    if let Some(path) = &create.process.conmon_pidfile {
        traces.write_pidfile(path, std::process::id().cast_signed())?;
    }
    signals.check()?;
    let asked = Asked::read(&create)?;
    let health = asked::health(&create, &image)?;
    let config = image.config.config().clone().unwrap_or_default();
    let kept = scope(place, &create, &definition.record.id)?;
    let location = kept.as_ref().map_or(&location, |kept| &kept.location);
    let mut payload = location.payload(create.service.cgroups, &definition.record.id);
    if let Some(parent) = &create.resources.cgroup_parent {
        payload = payload.below(parent)?;
    }
    let mut control = Control::open(&place.records().directory(&definition.record.id))?;
    if let Some(caller) = handover.attached()? {
        control.adopt(caller);
    }
    let writable = place.writable(&definition.record.id);
    // Before the host's mount namespace is left.
    held = Held::take(place, &definition.volumes)?;
    let mut rootfs = Rootfs::mount(&image, &writable, definition.record.rootfs.clone())?;
    let record = &mut definition.record;
    if place.scope == Scope::User && (asked.users != Users::Host || record.pod.is_some()) {
        notifier.extend(COPYING);
    }
    let (around, network) =
        surroundings::enter(place, &create, &asked, record, (&image, &mut rootfs))?;
    traces.network = Some(network);
    signals.check()?;
    let runtime = Runtime::named(create.process.runtime.as_deref())?;
    let prepared = Prepared {
        create: &create,
        runtime: &runtime,
        asked: &asked,
        config: &config,
        payload: &payload,
        volumes: &definition.volumes,
        held: &held,
        around: &around,
    };
    let mut restarts = Restarts::new(create.process.restart);
    let end = loop {
        let mut run = Run {
            place,
            prepared: &prepared,
            health: health.as_ref(),
            rootfs: &rootfs,
            signals: &mut signals,
            control: &mut control,
            notifier,
            handover,
            again: restarts.count > 0 || definition.record.ended.is_some(),
        };
        let end = run.once(&mut definition.record, &mut traces)?;
        let record = &mut definition.record;
        let ran = record.started.map(|started| Timestamp::now().duration_since(started));
        let out_of_memory = resources::out_of_memory(&payload.directory()) > 0;
        let at = Timestamp::now();
        record.ended = Some(Ended { status: end.status, at, out_of_memory });
        record.pid = None;
        events::of_container(place, record, "died");
        let delay = match end.wish {
            Wish::Stop => None,
            Wish::Restart => Some(Duration::ZERO),
            Wish::None | Wish::Fail => {
                restarts.after(end.status, ran.unwrap_or_default().try_into().unwrap_or_default())
            }
        };
        let Some(delay) = delay else { break end };
        // It may have left processes in it, which are none of the next run.
        payload.remove();
        record.restarts = restarts.count;
        place.records().write(record)?;
        control.ended(end.status);
        if !supervise::pause(delay, &mut signals, &mut control)? {
            break end;
        }
    };
    if traces.keep {
        stage::clear(place, &definition.record.id);
        // It may have been given another.
        definition.create.identity.name = Some(definition.record.name.clone());
        place.records().write(&definition.record)?;
        definition.write(place)?;
    }
    if let Some(pod) = &definition.record.pod {
        members::one_ended(place, pod, &definition.record.id)?;
    }
    // Who hears of the end finds the container gone, or as it ended.
    drop(rootfs);
    drop(traces);
    drop(kept);
    drop(held);
    supervise::part(&mut control, end.status)?;
    Ok(end.status)
}

impl Prepared<'_> {
    /// Whether the container's root is somebody else on the host.
    pub(crate) fn is_mapped(&self, place: &Place) -> bool {
        place.scope == Scope::User || self.around.own.is_some()
    }

    /// The devices that the container may open, where it could make nodes of any; `given` by name.
    pub(crate) fn devices(&self, given: &[Node]) -> Vec<Device> {
        let by_rule = self.asked.devices.iter().copied();
        devices::allowed(self.volumes, given.iter().filter_map(Node::rule).chain(by_rule))
    }
}

/// A scope of the container's own, where it is to have one.
fn scope(place: &Place, create: &Create, id: &ContainerId) -> Result<Option<Kept>, Error> {
    match (create.service.cgroups, place.scope) {
        (Some(Mode::Enabled), Scope::System) => Ok(Some(isolation::scope::open(id)?)),
        (Some(Mode::Enabled), Scope::User) => Err(isolation::scope::Error::OfUser.into()),
        _ => Ok(None),
    }
}

/// All that a container is started from.
pub(crate) struct Prepared<'a> {
    pub(crate) create: &'a Create,
    pub(crate) runtime: &'a Runtime,
    pub(crate) asked: &'a Asked,
    pub(crate) config: &'a ImageConfig,
    pub(crate) payload: &'a Payload,
    pub(crate) volumes: &'a [Volume],
    pub(crate) held: &'a Held,
    pub(crate) around: &'a Surroundings,
}

/// One run of a container: from its first process to that one's end.
struct Run<'a> {
    place: &'a Place,
    prepared: &'a Prepared<'a>,
    health: Option<&'a Plan>,
    rootfs: &'a Rootfs,
    signals: &'a mut Signals,
    control: &'a mut Control,
    notifier: &'a Notifier,
    handover: &'a Handover,
    /// This process has run it before.
    again: bool,
}

impl Run<'_> {
    fn once(&mut self, record: &mut Record, traces: &mut Traces<'_>) -> Result<End, Error> {
        let Self { place, prepared, notifier, handover, .. } = *self;
        let Prepared { create, payload, .. } = *prepared;
        remove_runtime(place, &record.id);
        self.rootfs.mount_again()?;
        record.cgroup = Some(payload.path.clone());
        place.records().write(record)?;
        traces.payload = Some(payload.clone());
        payload.make(&prepared.asked.resources)?;
        let stop = Stop {
            signal: signal::parse(&record.stop_signal)?,
            timeout: Duration::from_secs(record.stop_timeout.into()),
        };
        let bundle = place.records().directory(&record.id);
        let inside = create.service.sdnotify == SdNotify::Container && notifier.is_there();
        let proxy = if inside {
            let made = Proxy::bind(&bundle.join("notify"));
            Some(made.map_err(|source| Error::file("make", bundle.join("notify"), source))?)
        } else {
            None
        };
        let described = describe(place, prepared, record, self.rootfs, inside)?;
        let shift = |own| userns::shift::shift(place, own, self.rootfs, &bundle);
        let shifted = prepared.around.own.as_ref().map(shift).transpose()?;
        confine_devices(place, prepared, &described)?;
        self.signals.check()?;
        let mut health = self.health.map(|plan| health_duty(place, create, record, plan));
        let attached = handover.is_attached();
        let log_driver = create.service.log_driver;
        let driver = output::effective(log_driver, handover.is_detached(), attached);
        record.log_driver = output::name(driver).to_owned();
        let (mut output, mut streams) = Output::open(driver, record, &create.process, attached)?;
        let mut input = input::open(&create.process, &mut streams)?;
        let process = &described.process;
        // A network of others that root of its users could not enter is entered before.
        let network = traces.network.as_ref().filter(|_| shifted.is_some());
        let lent = network.map(|network| network.lend(place)).transpose()?.flatten();
        let in_network = lent.is_some();
        let container = Container {
            id: &record.id,
            state: &place.runtime(),
            bundle: &bundle,
            cgroup: &payload.directory(),
        };
        let mut ready = |pid| {
            propagation::apply(&process.shares, pid)?;
            Ok(payload.limit(&prepared.asked.resources)?)
        };
        let started = prepared.runtime.start(container, process, streams, &mut ready);
        drop(lent);
        let started = started?;
        if shifted.is_some() {
            userns::shift::settle(&bundle, self.rootfs.path(), in_network)?;
        }
        drop(shifted);
        if !create.isolation.sysctl.is_empty() {
            forget_parameters(&bundle.join("config.json"))?;
        }
        // The container has its own mounts by now.
        drop(described.staged);
        let init = Init::new(started.pid).bound(started.bond);
        if let Some(master) = started.terminal {
            input = Input::terminal(&master, create.process.interactive)?;
            output.connect(master);
        }
        activation::release();
        let mut cgroup = Some(payload.directory());
        if let Some(shared) = payload.settle()? {
            share_cgroup(&bundle.join("config.json"), shared)?;
            record.cgroup = None;
            cgroup = None;
        }
        record.pid = Process::of(init.pid()).ok();
        record.started = Some(Timestamp::now());
        record.ended = None;
        if let Some(path) = &create.process.pidfile {
            traces.write_pidfile(path, init.pid())?;
        }
        place.records().write(record)?;
        if let Some(process) = record.pid {
            network::inhabit(place, &record.id, process)?;
        }
        events::of_container(place, record, "start");
        if self.again {
            self.control.started();
        } else {
            let who = create.service.sdnotify;
            readiness::announce(who, notifier, inside, activation::watchdog());
            handover.started(record.id.as_str())?;
        }
        if let Some(duty) = &mut health {
            duty.monitor.begin();
        }
        let timeout = create.service.timeout;
        // From here on it has run, and is kept where it is to be.
        traces.keep = !create.identity.rm;
        let supervisor = Supervisor {
            init,
            stop,
            signals: self.signals,
            traffic: Traffic { control: self.control, output, input },
            notifier,
            proxy,
            records: &place.records(),
            record,
            health,
            cgroup,
            until: (timeout > 0).then(|| Instant::now() + Duration::from_secs(timeout.into())),
            network: traces.network.as_mut().and_then(Joined::pasta),
        };
        supervisor.wait()
    }
}

/// Its checks, and what follows from them.
fn health_duty(place: &Place, create: &Create, record: &Record, plan: &Plan) -> HealthDuty {
    let duties = Duties {
        on_failure: plan.on_failure,
        notify: create.service.sdnotify,
        watchdog: activation::watchdog().is_some(),
        restarted: record.unit.is_some() || create.process.restart != Policy::No,
    };
    HealthDuty { monitor: Monitor::new(place, &record.id, plan.clone()), duties }
}

/// The kernel's parameters are set; who enters later would look for the namespaces that they were
/// for, by descriptors of this process.
fn forget_parameters(config: &Path) -> Result<(), Error> {
    let failed = |error: oci_spec::OciSpecError| Error::Spec(error.to_string());
    let mut spec = Spec::load(config).map_err(failed)?;
    if let Some(linux) = spec.linux_mut() {
        linux.set_sysctl(None);
    }
    spec.save(config).map_err(failed)
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
    if prepared.is_mapped(place) {
        return Ok(());
    }
    let capabilities = &described.process.capabilities;
    let reaches = devices::REACH_DEVICES.iter().any(|name| capabilities.has(name));
    let is_restricted = described.devices.iter().any(Node::is_restricted);
    if prepared.create.isolation.privileged || !(reaches || is_restricted) {
        return Ok(());
    }
    if prepared.payload.is_shared() {
        return Err(Error::Devices);
    }
    let directory = prepared.payload.directory();
    devices::confine(&directory, &prepared.devices(&described.devices))
        .map_err(|source| Error::file("confine the devices of cgroup", directory, source))
}
