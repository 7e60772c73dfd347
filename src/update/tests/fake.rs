//! A host in memory, behind the same ports: units, one store, one registry, a clock of its own.
//! Each image behaves as [`Behaviour`] says, whichever unit runs it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Container, Digest, EngineKind, Failure, FailureKind, HealthState, ImageIdentity, ImageSource,
    Platform, Policy, Probe, Reference, UnitName,
};
use crate::plan::probation::Probation;
use crate::plan::{Approvals, Budget, Followers, Hold, Holds, Memory, Quarantine, Quarantined};
use crate::update::port::*;
use crate::update::{Entry, Event, EventKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Good,
    /// The start job fails.
    NeverReady,
    /// Is starting until systemd gives up.
    StartsForEver,
    /// Starts, then dies and is restarted by systemd for ever.
    CrashLoops,
    /// Starts, then ends with this status and stays down.
    Exits(i32),
    /// Its operator stops the unit while it settles.
    StoppedByOperator,
    /// The restart is cancelled because the operator stopped the unit.
    JobCanceled,
    /// A unit that it requires does not start.
    NeedsWhatFails,
    ShuttingDown,
    /// The service has been told to stop.
    ServiceStopping,
    /// Needs two seconds to stop, and its operator stops the unit while it settles.
    StopsSlowly,
    /// The unit has been started too often: systemd does not even try.
    StartLimit,
    /// Its health checks fail after a second.
    Unhealthy,
    /// No health check passes.
    NeverHealthy,
    /// Its first health check passes late, but in time.
    SlowlyHealthy,
    /// Runs, and never answers.
    Deadlocked,
    /// Answers after half a minute.
    AnswersLate,
    /// Dies at once, and something else than systemd's own restart starts it anew each time.
    StartedAnewForEver,
}

#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) active: &'static str,
    pub(super) image: Option<ImageIdentity>,
    pub(super) restarts: u32,
    main_status: i32,
    pub(super) on_request: bool,
    pub(super) job: Option<&'static str>,
    result: &'static str,
    invocation: u32,
    started: Duration,
    left: Duration,
}

/// A job that somebody waits for.
struct Job<'a>(&'a Cell<usize>);

impl Drop for Job<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A registry's host that drops packets: the first who asks waits, and the others with it.
#[derive(Default)]
pub(super) struct Dead {
    gate: tokio::sync::Mutex<()>,
    pub(super) found_out: Cell<bool>,
    pub(super) connections: Cell<u32>,
}

impl Dead {
    async fn wait_for(&self) -> Failure {
        let _gate = self.gate.lock().await;
        if !self.found_out.get() {
            self.connections.set(self.connections.get() + 1);
            tokio::time::sleep(Duration::from_secs(10)).await;
            self.found_out.set(true);
        }
        Failure::new(FailureKind::Unreachable, "no connection within 10 s")
    }
}

/// A registry's host that is asked too much after so many questions.
#[derive(Default)]
pub(super) struct Busy {
    pub(super) left: Cell<u32>,
    /// Whether it has said so in this pass.
    pub(super) said: Cell<bool>,
    pub(super) asked: Cell<u32>,
}

impl Busy {
    fn ask(&self) -> Result<(), Failure> {
        if !self.said.get() {
            self.asked.set(self.asked.get() + 1);
            match self.left.get().checked_sub(1) {
                Some(left) => {
                    self.left.set(left);
                    return Ok(());
                }
                None => self.said.set(true),
            }
        }
        let wait = Some(Duration::from_secs(300));
        Err(Failure::new(FailureKind::RateLimited(wait), "429 Too Many Requests"))
    }
}

#[derive(Default)]
pub(super) struct Host {
    pub(super) units: RefCell<BTreeMap<UnitName, Unit>>,
    pub(super) references: RefCell<BTreeMap<UnitName, Reference>>,
    pub(super) tags: RefCell<BTreeMap<Reference, ImageIdentity>>,
    pub(super) bindings: RefCell<BTreeMap<(UnitName, Reference), ImageIdentity>>,
    pub(super) kept: RefCell<BTreeMap<(UnitName, Reference), ImageIdentity>>,
    pub(super) kind: Cell<Option<EngineKind>>,
    /// A unit that starts anew by itself when another one is restarted.
    pub(super) restarts_beside: Cell<Option<&'static str>>,
    pub(super) remote: RefCell<BTreeMap<Reference, Result<ImageIdentity, Failure>>>,
    pub(super) behaviours: RefCell<BTreeMap<Digest, Behaviour>>,
    /// Units in which the new image does otherwise.
    pub(super) own_behaviours: RefCell<BTreeMap<UnitName, Behaviour>>,
    pub(super) stage_failure: RefCell<Option<Failure>>,
    pub(super) staged: RefCell<BTreeSet<Digest>>,
    pub(super) quarantine: RefCell<Quarantine>,
    /// What is wrong with the ledger.
    pub(super) damage: RefCell<Vec<String>>,
    pub(super) holds: RefCell<Holds>,
    pub(super) approvals: RefCell<Approvals>,
    /// A unit that its operator holds while images are pulled.
    pub(super) held_while_staging: Cell<Option<&'static str>>,
    /// How long a pull takes.
    pub(super) stage_time: Cell<Duration>,
    pub(super) memory: RefCell<Memory>,
    pub(super) flights: RefCell<Vec<InFlight>>,
    pub(super) history: RefCell<Vec<Entry>>,
    pub(super) events: RefCell<Vec<Event>>,
    pub(super) memory_while_staging: RefCell<Memory>,
    pub(super) probations: RefCell<Vec<Probation>>,
    /// What the journal has of the runs of units.
    pub(super) told: RefCell<BTreeMap<UnitName, Vec<RunTold>>>,
    /// Units that systemd has no file for.
    pub(super) gone: RefCell<BTreeSet<UnitName>>,
    /// Units that run to an end of their own.
    pub(super) transient: Cell<bool>,
    pub(super) shutting_down: Cell<bool>,
    pub(super) winding_down: Cell<bool>,
    /// What storage holds beside what units run, at each look at it.
    pub(super) stock: RefCell<Stock>,
    /// How often that was looked at.
    pub(super) stocktakings: Cell<u32>,
    /// What was removed of it.
    pub(super) cleared: RefCell<Vec<Digest>>,
    pub(super) clear_failure: RefCell<Option<Failure>>,
    /// What refuses every job.
    pub(super) refusal: RefCell<Option<JobError>>,
    pub(super) tag_failure: RefCell<Option<Failure>>,
    pub(super) quarantine_failure: RefCell<Option<Failure>>,
    /// Why the journal cannot be read.
    pub(super) journal_failure: Cell<Option<&'static str>>,
    pub(super) identify_failure: RefCell<Option<Failure>>,
    /// Registries' hosts that do not answer.
    pub(super) dead: RefCell<BTreeMap<String, Rc<Dead>>>,
    pub(super) budgets: RefCell<BTreeMap<String, Budget>>,
    pub(super) busy: RefCell<BTreeMap<String, Rc<Busy>>>,
    /// How long the others take, and when they answered.
    pub(super) answer_time: Cell<Duration>,
    pub(super) answered: RefCell<Vec<tokio::time::Instant>>,
    pub(super) heads: Cell<u32>,
    pub(super) gets: Cell<u32>,
    pub(super) restarts: Cell<u32>,
    /// Who comes after whom, and who stops with whom.
    pub(super) graph: RefCell<BTreeMap<String, Followers>>,
    /// How long a job takes.
    pub(super) job_time: Cell<Duration>,
    /// Jobs under way, and the most there were.
    jobs: Cell<usize>,
    pub(super) most_jobs: Cell<usize>,
    /// Every restart, as it ended.
    pub(super) restarted: RefCell<Vec<String>>,
    /// Every restart that came with another unit's.
    pub(super) carried: RefCell<Vec<String>>,
    /// A unit crashes just before its failures are reset.
    pub(super) crashes_at_reset: Cell<bool>,
    /// A unit that its operator stops while another one settles on the new image.
    pub(super) stopped_beside: Cell<Option<&'static str>>,
    /// Units without an image that do not start as long as another one runs the new one.
    pub(super) allergic: RefCell<BTreeSet<String>>,
    pub(super) oneshots: RefCell<BTreeSet<String>>,
    /// Units that crash, and are restarted by systemd, as long as another one runs the new image.
    pub(super) restless: RefCell<BTreeSet<String>>,
    /// Images that cannot be pulled.
    pub(super) unpullable: RefCell<BTreeMap<Reference, Failure>>,
    pub(super) boots: Cell<u32>,
    /// Whether a boot starts those that stop with others.
    pub(super) enabled: Cell<bool>,
    /// Units that this process has restarted, of which systemd forgets nothing.
    kept_in_mind: RefCell<BTreeSet<UnitName>>,
    /// Whether systemd forgets the others where they are down and have not failed.
    pub(super) forgotten: Cell<bool>,
    /// Counts down at each durable write; the process "dies" at zero.
    pub(super) writes_left: Cell<Option<u32>>,
    clock: Cell<Duration>,
}

pub(super) fn image(seed: &str) -> ImageIdentity {
    let digest = Digest::of(seed.as_bytes());
    ImageIdentity { target: digest.clone(), manifest: digest, platform: Platform::host() }
}

pub(super) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

impl Host {
    /// Units that run `old` of one reference, with `new` behind its tag in the registry.
    pub(super) fn with(units: &[&str], new: Behaviour) -> Self {
        let host = Self::default();
        let app = reference("quay.io/app:1");
        host.tags.borrow_mut().insert(app.clone(), image("old"));
        host.remote.borrow_mut().insert(app.clone(), Ok(image("new")));
        host.behaviours.borrow_mut().insert(image("new").manifest, new);
        for unit in units {
            let unit: UnitName = unit.parse().unwrap();
            host.references.borrow_mut().insert(unit.clone(), app.clone());
            host.begin_anew(&unit);
        }
        host.restarts.set(0);
        host
    }

    pub(super) fn image_of(&self, unit: &str) -> Option<Digest> {
        let units = self.units.borrow();
        units[&unit.parse().unwrap()].image.as_ref().map(|image| image.manifest.clone())
    }

    pub(super) fn active(&self, unit: &str) -> &'static str {
        self.units.borrow()[&unit.parse().unwrap()].active
    }

    pub(super) fn kinds(&self) -> Vec<EventKind> {
        self.events.borrow().iter().map(|event| event.kind).collect()
    }

    /// A power cut and the boot after it: every unit that ran comes up with what it is given.
    pub(super) fn reboot(&self) {
        self.writes_left.set(None);
        self.boots.set(self.boots.get() + 1);
        let units: Vec<UnitName> = self.references.borrow().keys().cloned().collect();
        for unit in units {
            self.begin_anew(&unit);
        }
    }

    /// A boot at which units wait for the network before they start.
    pub(super) fn reboot_without_network(&self) {
        self.reboot();
        for unit in self.units.borrow_mut().values_mut() {
            unit.invocation += 1;
            (unit.active, unit.job, unit.image) = ("inactive", Some("start"), None);
            unit.started = self.clock.get() + Duration::from_secs(60);
        }
    }

    /// The process ended at an effect, the host did not.
    pub(super) fn go_on_without_it(&self) {
        self.writes_left.set(None);
        self.kept_in_mind.take();
    }

    /// The image that a unit gets at a start.
    fn given(&self, unit: &UnitName) -> ImageIdentity {
        let reference = self.references.borrow()[unit].clone();
        let bound = self.bindings.borrow().get(&(unit.clone(), reference.clone())).cloned();
        bound.unwrap_or_else(|| self.tags.borrow()[&reference].clone())
    }

    fn behaviour(&self, unit: &UnitName, image: &ImageIdentity) -> Behaviour {
        if image != &self::image("old")
            && let Some(own) = self.own_behaviours.borrow().get(unit)
        {
            return *own;
        }
        self.behaviours.borrow().get(&image.manifest).copied().unwrap_or(Behaviour::Good)
    }

    fn begin_anew(&self, unit: &UnitName) -> JobResult {
        self.restarts.set(self.restarts.get() + 1);
        let image = self.given(unit);
        let behaviour = self.behaviour(unit, &image);
        let invocation = self.units.borrow().get(unit).map_or(0, |unit| unit.invocation) + 1;
        let fails = matches!(behaviour, Behaviour::NeverReady | Behaviour::StartLimit);
        let limited = behaviour == Behaviour::StartLimit;
        let unit_state = Unit {
            active: if fails { "failed" } else { "active" },
            image: (!fails).then_some(image),
            restarts: 0,
            main_status: i32::from(fails),
            on_request: false,
            job: None,
            result: if limited { "start-limit-hit" } else { "success" },
            invocation,
            started: self.clock.get(),
            left: self.clock.get(),
        };
        self.units.borrow_mut().insert(unit.clone(), unit_state);
        self.take_along(unit, !fails);
        if fails { JobResult::Failed } else { JobResult::Done }
    }

    /// What systemd does with those that stop with a unit that is restarted.
    fn take_along(&self, unit: &UnitName, came_up: bool) {
        let followers = self.graph.borrow().get(unit.as_str()).cloned().unwrap_or_default();
        for dependent in followers.dependents {
            let dependent: UnitName = dependent.parse().unwrap();
            let runs = self.units.borrow().get(&dependent).is_some_and(|it| it.active == "active");
            let has_image = self.references.borrow().contains_key(&dependent);
            match runs {
                true if came_up && has_image => {
                    self.carried.borrow_mut().push(dependent.to_string());
                    self.begin_anew(&dependent);
                }
                true if came_up && !self.allergic.borrow().contains(dependent.as_str()) => {
                    self.set(&dependent, "active", false);
                }
                // A job that is canceled stops as a person does.
                true => {
                    self.set(&dependent, "inactive", true);
                    self.units.borrow_mut().entry(dependent).and_modify(|unit| unit.image = None);
                }
                false => {}
            }
        }
    }

    /// A run of a unit that has begun and ended since; 0 is a success.
    pub(super) fn next_run(&self, unit: &str, status: i32) {
        let unit: UnitName = unit.parse().unwrap();
        self.begin_anew(&unit);
        let mut units = self.units.borrow_mut();
        let run = units.get_mut(&unit).unwrap();
        run.active = if status == 0 { "inactive" } else { "failed" };
        (run.main_status, run.image) = (status, None);
    }

    /// What a unit gets at its next start.
    pub(super) fn next_image(&self, unit: &str) -> Digest {
        self.given(&unit.parse().unwrap()).manifest
    }

    /// The first start of a unit.
    pub(super) fn begin(&self, unit: &UnitName) {
        self.begin_anew(unit);
        self.restarts.set(0);
    }

    pub(super) fn stop(&self, unit: &str) {
        self.set(&unit.parse().unwrap(), "inactive", true);
    }

    /// A unit without an image.
    pub(super) fn plain(&self, unit: &str) {
        self.set(&unit.parse().unwrap(), "active", false);
    }

    fn set(&self, name: &UnitName, active: &'static str, on_request: bool) {
        let mut units = self.units.borrow_mut();
        let before = units.get(name).cloned();
        let invocation = before.as_ref().map_or(0, |unit| unit.invocation);
        units.insert(
            name.clone(),
            Unit {
                active,
                image: before.and_then(|unit| unit.image),
                restarts: 0,
                main_status: 0,
                on_request,
                job: None,
                result: "success",
                invocation: invocation + u32::from(active == "active"),
                started: self.clock.get(),
                left: self.clock.get(),
            },
        );
    }

    /// systemd had to restart it just now.
    pub(super) fn crashed(&self, unit: &str) {
        self.units.borrow_mut().get_mut(&unit.parse().unwrap()).unwrap().restarts = 1;
    }

    pub(super) fn needs(&self, unit: &str, dependents: &[&str]) {
        let dependents: Vec<String> = dependents.iter().map(|unit| (*unit).to_owned()).collect();
        let followers = Followers { later: dependents.clone(), dependents };
        self.graph.borrow_mut().insert(unit.to_owned(), followers);
    }

    async fn take_time(&self) {
        self.jobs.set(self.jobs.get() + 1);
        self.most_jobs.set(self.most_jobs.get().max(self.jobs.get()));
        let _job = Job(&self.jobs);
        if !self.job_time.get().is_zero() {
            self.sleep(self.job_time.get()).await;
        }
    }

    /// Lets a unit's image do what it does a second after its start.
    fn let_live(&self, name: &UnitName, unit: &mut Unit) {
        if unit.job == Some("start") && self.clock.get() >= unit.started {
            unit.image = Some(self.given(name));
            (unit.active, unit.job) = ("active", None);
            unit.invocation += 1;
        }
        let Some(image) = unit.image.clone() else { return };
        if self.clock.get() < unit.started + Duration::from_secs(1) {
            return;
        }
        match self.behaviour(name, &image) {
            Behaviour::CrashLoops => {
                unit.restarts += 1;
                unit.invocation += 1;
            }
            Behaviour::Exits(status) => {
                unit.active = if status == 0 { "inactive" } else { "failed" };
                unit.main_status = status;
                unit.image = None;
            }
            Behaviour::StopsSlowly if self.clock.get() < unit.started + Duration::from_secs(3) => {
                (unit.active, unit.job, unit.on_request) = ("deactivating", Some("stop"), true);
            }
            Behaviour::StartedAnewForEver => unit.invocation += 1,
            Behaviour::StoppedByOperator | Behaviour::StopsSlowly => {
                unit.job = None;
                unit.active = "inactive";
                unit.on_request = true;
                unit.image = None;
            }
            _ => {}
        }
    }

    fn write(&self) -> Result<(), Failure> {
        match self.writes_left.get() {
            Some(0) => Err(Failure::new(FailureKind::Local, "power cut")),
            Some(left) => {
                self.writes_left.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn dead(&self) -> bool {
        self.writes_left.get() == Some(0)
    }

    fn job(&self, unit: &UnitName, coming: Behaviour) -> Result<JobResult, JobError> {
        match coming {
            Behaviour::ServiceStopping => Err(JobError::ServiceStopping),
            Behaviour::ShuttingDown => Err(JobError::ShuttingDown("poweroff".into())),
            Behaviour::NeedsWhatFails => {
                let mut units = self.units.borrow_mut();
                let unit = units.get_mut(unit).unwrap();
                (unit.active, unit.image) = ("inactive", None);
                Ok(JobResult::Dependency)
            }
            Behaviour::JobCanceled => {
                let mut units = self.units.borrow_mut();
                let unit = units.get_mut(unit).unwrap();
                (unit.active, unit.on_request, unit.image) = ("inactive", true, None);
                Ok(JobResult::Canceled)
            }
            _ => Ok(self.begin_anew(unit)),
        }
    }

    fn coming(&self, unit: &UnitName) -> Behaviour {
        let tagged = self.given(unit);
        if tagged == image("old") { Behaviour::Good } else { self.behaviour(unit, &tagged) }
    }
}

impl Registry for Host {
    async fn host(&self, source: &ImageSource) -> Result<String, Failure> {
        Ok(source.reference.registry().to_owned())
    }

    fn begin_pass(&self) {
        self.dead.borrow().values().for_each(|host| host.found_out.set(false));
        self.busy.borrow().values().for_each(|host| host.said.set(false));
    }

    fn budget(&self, host: &str) -> Option<Budget> {
        self.budgets.borrow().get(host).cloned()
    }

    async fn target(&self, source: &ImageSource) -> Result<Digest, Failure> {
        let dead = self.dead.borrow().get(source.reference.registry()).cloned();
        if let Some(dead) = dead {
            return Err(dead.wait_for().await);
        }
        let busy = self.busy.borrow().get(source.reference.registry()).cloned();
        if let Some(busy) = busy {
            busy.ask()?;
        }
        if !self.answer_time.get().is_zero() {
            tokio::time::sleep(self.answer_time.get()).await;
        }
        self.answered.borrow_mut().push(tokio::time::Instant::now());
        self.heads.set(self.heads.get() + 1);
        self.remote.borrow()[&source.reference].clone().map(|image| image.target)
    }

    async fn identify(
        &self,
        source: &ImageSource,
        _target: &Digest,
        _platform: &Platform,
    ) -> Result<ImageIdentity, Failure> {
        self.gets.set(self.gets.get() + 1);
        if let Some(failure) = &*self.identify_failure.borrow() {
            return Err(failure.clone());
        }
        self.remote.borrow()[&source.reference].clone()
    }
}

impl Engine for Host {
    fn kind(&self) -> EngineKind {
        self.kind.get().unwrap_or(EngineKind::Native)
    }

    async fn inventory(&self) -> Result<Inventory, Failure> {
        let mut containers = Vec::new();
        for (number, (unit, state)) in self.units.borrow().iter().enumerate() {
            let Some(image) = &state.image else { continue };
            containers.push(Container {
                id: format!("{number:064x}").parse().unwrap(),
                name: unit.to_string(),
                engine: Engine::kind(self),
                claimed: None,
                digests: vec![],
                unit: Some(unit.clone()),
                guest_of: None,
                group: None,
                policy: Ok(Policy::Registry),
                source: ImageSource {
                    reference: self.references.borrow()[unit].clone(),
                    authfile: None,
                },
                image: image.clone(),
                created: Timestamp::UNIX_EPOCH,
            });
        }
        Ok(Inventory { containers, ..Inventory::default() })
    }

    async fn local(&self, reference: &Reference) -> Result<Option<ImageIdentity>, Failure> {
        Ok(self.tags.borrow().get(reference).cloned())
    }

    async fn stage(&self, source: &ImageSource, image: &ImageIdentity) -> Result<(), Failure> {
        if let Some(failure) = self.unpullable.borrow().get(&source.reference) {
            return Err(failure.clone());
        }
        if let Some(failure) = &*self.stage_failure.borrow() {
            return Err(failure.clone());
        }
        if let Some(unit) = self.held_while_staging.get() {
            let hold = Hold { since: Clock::now(self), until: None, reason: String::new() };
            self.holds.borrow_mut().set(unit.parse().unwrap(), hold);
        }
        self.clock.set(self.clock.get() + self.stage_time.get());
        *self.memory_while_staging.borrow_mut() = self.memory.borrow().clone();
        self.staged.borrow_mut().insert(image.manifest.clone());
        Ok(())
    }

    async fn keep(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        self.write()?;
        self.kept.borrow_mut().insert((unit.clone(), reference.clone()), image.clone());
        Ok(())
    }

    async fn stock(&self, _weighed: bool) -> Result<Stock, Failure> {
        self.stocktakings.set(self.stocktakings.get() + 1);
        Ok(self.stock.borrow().clone())
    }

    async fn clear(&self, clearing: &Clearing) -> Result<Cleared, Failure> {
        if let Some(failure) = &*self.clear_failure.borrow() {
            return Err(failure.clone());
        }
        let removed: Vec<Digest> = clearing.remove.iter().map(|image| image.id.clone()).collect();
        self.stock.borrow_mut().images.retain(|image| !removed.contains(&image.id));
        self.cleared.borrow_mut().extend(removed.clone());
        Ok(Cleared { removed, failures: vec![] })
    }

    async fn kept(
        &self,
        unit: &UnitName,
        reference: &Reference,
        known: &[Digest],
    ) -> Result<Vec<ImageIdentity>, Failure> {
        let all = [image("old"), image("new")];
        let mut found: Vec<ImageIdentity> =
            all.into_iter().filter(|image| known.contains(&image.manifest)).collect();
        let kept = self.kept.borrow().get(&(unit.clone(), reference.clone())).cloned();
        found.extend(kept.filter(|kept| !known.contains(&kept.manifest)));
        Ok(found)
    }

    async fn bind(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<(), Failure> {
        if !Engine::kind(self).has_bindings() {
            return self.tag(reference, image).await;
        }
        self.write()?;
        self.bindings.borrow_mut().insert((unit.clone(), reference.clone()), image.clone());
        Ok(())
    }

    async fn tag(&self, reference: &Reference, image: &ImageIdentity) -> Result<(), Failure> {
        self.write()?;
        if let Some(failure) = &*self.tag_failure.borrow() {
            return Err(failure.clone());
        }
        self.tags.borrow_mut().insert(reference.clone(), image.clone());
        Ok(())
    }

    async fn unbind(&self, unit: &UnitName, reference: &Reference) -> Result<(), Failure> {
        self.write()?;
        self.bindings.borrow_mut().remove(&(unit.clone(), reference.clone()));
        Ok(())
    }

    async fn gives(
        &self,
        unit: &UnitName,
        _reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<bool, Failure> {
        Ok(&self.given(unit) == image)
    }

    async fn running(
        &self,
        unit: &UnitName,
        _reference: &Reference,
    ) -> Result<Vec<Running>, Failure> {
        let units = self.units.borrow();
        let name = unit;
        let unit = &units[name];
        let Some(image) = unit.image.clone() else { return Ok(vec![]) };
        let ran = self.clock.get().saturating_sub(unit.started);
        let state = match self.behaviour(name, &image) {
            Behaviour::Unhealthy if ran >= Duration::from_secs(1) => Some(HealthState::Unhealthy),
            Behaviour::SlowlyHealthy if ran >= Duration::from_secs(20) => {
                Some(HealthState::Healthy)
            }
            Behaviour::Unhealthy | Behaviour::NeverHealthy | Behaviour::SlowlyHealthy => {
                Some(HealthState::Starting)
            }
            _ => None,
        };
        let patience = Duration::from_secs(30);
        let health = state.map(|state| Health { state, failing_streak: 3, patience });
        let container = format!("{:064x}", unit.invocation).parse().unwrap();
        Ok(vec![Running { container, image, digests: vec![], restarts: 0, health }])
    }
}

impl Manager for Host {
    type Delay = ();

    async fn delay_shutdown(&self, _why: &str) {}

    async fn boot(&self) -> String {
        self.boots.get().to_string()
    }

    async fn is_shutting_down(&self) -> bool {
        self.shutting_down.get()
    }

    fn is_winding_down(&self) -> bool {
        self.winding_down.get()
    }

    async fn state(&self, name: &UnitName) -> Result<UnitState, Failure> {
        let settles = self.units.borrow().get(name).is_some_and(|unit| {
            unit.image == Some(image("new")) && self.clock.get() > unit.started
        });
        if let Some(beside) = self.stopped_beside.get().filter(|_| settles) {
            self.stopped_beside.set(None);
            self.sleep(Duration::from_secs(1)).await;
            self.set(&beside.parse().unwrap(), "inactive", true);
        }
        let mut units = self.units.borrow_mut();
        let Some(unit) = units.get_mut(name) else {
            return Err(Failure::new(FailureKind::Local, "no such unit"));
        };
        let was_active = unit.active;
        self.let_live(name, unit);
        if was_active == "active" && unit.active != "active" {
            unit.left = self.clock.get();
        }
        let kept = self.kept_in_mind.borrow().contains(name);
        let forgotten = self.forgotten.get() && unit.active == "inactive" && !kept;
        Ok(UnitState {
            left: unit.left,
            active: unit.active.into(),
            sub: if unit.active == "active" { "running" } else { "dead" }.into(),
            result: match (unit.result, unit.main_status) {
                ("success", 0) => "success".into(),
                ("success", _) => "exit-code".into(),
                (result, _) => result.into(),
            },
            main_status: unit.main_status,
            job: unit.job.map(str::to_owned),
            stopped_on_request: unit.on_request && !forgotten,
            was_started: !forgotten,
            transient: self.transient.get(),
            is_there: !self.gone.borrow().contains(name),
            announced: false,
            restarts: unit.restarts,
            invocation: unit.invocation.to_string(),
        })
    }

    async fn try_restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        let is_down = self.units.borrow()[unit].active == "inactive";
        if is_down && !self.dead() && self.refusal.borrow().is_none() {
            return Ok(JobResult::Done);
        }
        self.restart(unit).await
    }

    async fn restart(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        if self.dead() {
            return Err(JobError::ShuttingDown("power cut".into()));
        }
        if let Some(refusal) = &*self.refusal.borrow() {
            return Err(refusal.clone());
        }
        self.take_time().await;
        self.kept_in_mind.borrow_mut().insert(unit.clone());
        self.restarted.borrow_mut().push(unit.to_string());
        if let Some(beside) = self.restarts_beside.take() {
            self.begin_anew(&beside.parse().unwrap());
        }
        let coming = self.coming(unit);
        if coming == Behaviour::StartsForEver {
            self.set(unit, "activating", false);
            self.sleep(Duration::from_secs(90)).await;
            self.set(unit, "failed", false);
            return Ok(JobResult::Timeout);
        }
        self.job(unit, coming)
    }

    async fn stop(&self, unit: &UnitName) -> Result<JobResult, JobError> {
        if self.dead() {
            return Err(JobError::ShuttingDown("power cut".into()));
        }
        if let Some(unit) = self.units.borrow_mut().get_mut(unit) {
            (unit.image, unit.restarts) = (None, 0);
        }
        self.set(unit, "inactive", true);
        Ok(JobResult::Done)
    }

    async fn start(&self, unit: &str) -> Result<JobResult, JobError> {
        let bad = |unit: &Unit| unit.image == Some(image("new"));
        if self.allergic.borrow().contains(unit) && self.units.borrow().values().any(bad) {
            return Ok(JobResult::Failed);
        }
        self.set(&unit.parse().unwrap(), "active", false);
        Ok(JobResult::Done)
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), Failure> {
        self.write()?;
        let name: UnitName = unit.parse().unwrap();
        self.kept_in_mind.borrow_mut().insert(name.clone());
        let mut units = self.units.borrow_mut();
        let unit = units.get_mut(&name).unwrap();
        unit.restarts = 0;
        if self.crashes_at_reset.take() {
            unit.active = "failed";
        }
        if unit.active == "failed" {
            (unit.active, unit.image, unit.main_status) = ("inactive", None, 0);
        }
        Ok(())
    }

    async fn standing(&self, unit: &str) -> Result<Standing, Failure> {
        let mut units = self.units.borrow_mut();
        let name: UnitName = unit.parse().unwrap();
        let moved = units.values().any(|unit| unit.image == Some(image("new")));
        let unit = units.get_mut(&name).unwrap();
        if moved && self.restless.borrow().contains(name.as_str()) {
            (unit.restarts, unit.invocation) = (unit.restarts + 1, unit.invocation + 1);
        }
        Ok(Standing {
            active: unit.active.into(),
            sub: String::new(),
            job: unit.job.map(str::to_owned),
            stopped_on_request: unit.on_request,
            came_to_its_end: false,
            was_started: unit.active == "active" || !self.forgotten.get(),
            is_enabled: self.enabled.get(),
            transient: self.oneshots.borrow().contains(name.as_str()),
            entered: unit.started,
            left: unit.left,
            restarts: unit.restarts,
            invocation: unit.invocation.to_string(),
        })
    }

    async fn job_ended(&self, _units: &[UnitName]) {
        std::future::pending().await
    }

    async fn followers(&self, unit: &str) -> Result<Followers, Failure> {
        Ok(self.graph.borrow().get(unit).cloned().unwrap_or_default())
    }

    fn now(&self) -> Duration {
        self.clock.get()
    }
}

impl Ledger for Host {
    fn mend(&self) -> Result<Vec<String>, Failure> {
        Ok(self.damage.take())
    }

    fn damage(&self) -> Result<Vec<String>, Failure> {
        Ok(self.damage.borrow().clone())
    }

    fn quarantine(&self) -> Result<Quarantine, Failure> {
        Ok(self.quarantine.borrow().clone())
    }

    fn add_to_quarantine(&self, entry: Quarantined) -> Result<(), Failure> {
        self.write()?;
        if let Some(failure) = &*self.quarantine_failure.borrow() {
            return Err(failure.clone());
        }
        self.quarantine.borrow_mut().add(entry);
        Ok(())
    }

    fn drop_from_quarantine(&self, over: &dyn Fn(&Quarantined) -> bool) -> Result<(), Failure> {
        self.quarantine.borrow_mut().clear(over);
        Ok(())
    }

    fn holds(&self) -> Result<Holds, Failure> {
        Ok(self.holds.borrow().clone())
    }

    fn approvals(&self) -> Result<Approvals, Failure> {
        Ok(self.approvals.borrow().clone())
    }

    fn memory(&self) -> Result<Memory, Failure> {
        Ok(self.memory.borrow().clone())
    }

    fn save_memory(&self, memory: &Memory) -> Result<(), Failure> {
        *self.memory.borrow_mut() = memory.clone();
        Ok(())
    }

    fn in_flight(&self) -> Result<Vec<InFlight>, Failure> {
        Ok(self.flights.borrow().clone())
    }

    fn save_rollout(&self, rollout: &InFlight) -> Result<(), Failure> {
        self.write()?;
        self.end(rollout);
        self.flights.borrow_mut().push(rollout.clone());
        Ok(())
    }

    fn end_rollout(&self, rollout: &InFlight) -> Result<(), Failure> {
        self.write()?;
        self.end(rollout);
        Ok(())
    }

    fn probations(&self) -> Result<Vec<Probation>, Failure> {
        Ok(self.probations.borrow().clone())
    }

    fn save_probation(&self, probation: &Probation) -> Result<(), Failure> {
        self.write()?;
        self.forget(probation);
        self.probations.borrow_mut().push(probation.clone());
        Ok(())
    }

    fn end_probation(&self, probation: &Probation) -> Result<(), Failure> {
        self.write()?;
        self.forget(probation);
        Ok(())
    }

    fn append(&self, entry: &Entry) -> Result<(), Failure> {
        self.write()?;
        self.history.borrow_mut().push(entry.clone());
        Ok(())
    }
}

impl Host {
    fn forget(&self, probation: &Probation) {
        self.probations.borrow_mut().retain(|other| other.unit != probation.unit);
    }

    fn end(&self, flight: &InFlight) {
        self.flights.borrow_mut().retain(|other| other.rollout.source != flight.rollout.source);
    }
}

impl Clock for Host {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH.saturating_add(self.clock.get()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.clock.get()
    }

    fn zone(&self, _: Option<&str>) -> Option<jiff::tz::TimeZone> {
        Some(jiff::tz::TimeZone::UTC)
    }

    fn random(&self) -> f64 {
        0.5
    }

    /// The time of a runtime that passes it as soon as all sleep.
    async fn sleep(&self, time: Duration) {
        let time = time.max(Duration::from_millis(1));
        let until = self.clock.get() + time;
        tokio::time::sleep(time).await;
        self.clock.set(self.clock.get().max(until));
    }
}

impl Journal for Host {
    async fn last(&self, invocations: &[String]) -> Result<Vec<String>, String> {
        match self.journal_failure.get() {
            Some(why) => Err(why.to_owned()),
            None => Ok(invocations.iter().map(|run| format!("said in run {run}")).collect()),
        }
    }

    async fn tells_of_a_stop(&self, unit: &UnitName, _: Timestamp) -> Result<bool, String> {
        match self.journal_failure.get() {
            Some(why) => Err(why.to_owned()),
            None => Ok(self.units.borrow()[unit].on_request),
        }
    }

    async fn runs(&self, unit: &UnitName, _since: Timestamp) -> Result<Vec<RunTold>, String> {
        match self.journal_failure.get() {
            Some(why) => Err(why.to_owned()),
            None => Ok(self.told.borrow().get(unit).cloned().unwrap_or_default()),
        }
    }
}

impl Prober for Host {
    async fn ask(&self, _: &Probe, _: Duration) -> Result<(), String> {
        let units = self.units.borrow();
        let since = |unit: &Unit| self.clock.get().saturating_sub(unit.started);
        let well = units.iter().all(|(name, unit)| {
            match unit.image.as_ref().map(|it| self.behaviour(name, it)) {
                Some(Behaviour::Deadlocked) => false,
                Some(Behaviour::AnswersLate) => since(unit) >= Duration::from_secs(30),
                _ => true,
            }
        });
        if well { Ok(()) } else { Err("no answer within 5 s".into()) }
    }
}

impl Observer for Host {
    fn event(&self, event: &Event) {
        self.events.borrow_mut().push(event.clone());
    }
}

impl World for &Host {
    type Registry = Host;
    type Engine = Host;
    type Manager = Host;
    type Journal = Host;
    type Prober = Host;
    type Ledger = Host;
    type Clock = Host;
    type Observer = Host;

    fn registry(&self) -> &Host {
        self
    }
    fn engines(&self) -> &[Host] {
        std::slice::from_ref(*self)
    }
    fn manager(&self) -> &Host {
        self
    }
    fn journal(&self) -> &Host {
        self
    }
    fn prober(&self) -> &Host {
        self
    }
    fn ledger(&self) -> &Host {
        self
    }
    fn clock(&self) -> &Host {
        self
    }
    fn observer(&self) -> &Host {
        self
    }
}
