//! Whether a unit really came back: active for its settle time, without an automatic restart, with
//! the image it was given, and healthy where its container has checks.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::execute::Begin;
use super::port::{Clock, Engine, Health, Journal as _, Prober as _, Running, UnitState, World};
use super::restart::LAUNCHER_FAILED;
use super::updater::Updater;
use crate::model::{
    ContainerId, Digest, Failure, HealthState, ImageIdentity, Probe, Reference, UnitName,
};
use crate::plan::Cause;
use crate::plan::rollout::Event;

/// The longest time between two looks at a unit. What happens in between is not missed: systemd
/// counts automatic restarts, and each start has an invocation ID of its own.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// How long a unit may wait for its start, or be started anew by others, before its settle time
/// begins: at boot a unit waits for the network, or for another unit.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// A unit that is being watched.
struct Watch {
    /// The state that later ones are held against.
    first: UnitState,
    settle: Duration,
    /// When it will have settled.
    until: Duration,
    /// When the settle time may not begin anew any more.
    patience: Duration,
    /// The unit's containers as they were found, each with its restarts by the engine.
    members: BTreeMap<ContainerId, u32>,
    /// One of them was missing at the last look.
    missed: bool,
    /// When it was asked first, and did not answer well.
    asked: Option<Duration>,
}

impl<W: World> Updater<W> {
    /// Watches `unit` for its settle time.
    pub(super) async fn verify(
        &self,
        engine: &W::Engine,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
        begin: Begin,
    ) -> Event {
        match self.watch(engine, unit, reference, image, begin).await {
            Ok(event) => event,
            Err(failure) => Event::Failed(Cause::Host { failure }),
        }
    }

    async fn watch(
        &self,
        engine: &W::Engine,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
        begin: Begin,
    ) -> Result<Event, Failure> {
        let clock = self.world.clock();
        let began = clock.now();
        let mut state = self.recalled(unit, begin).await?;
        let settle = self.options.settle(unit);
        let mut watch = Watch::begin(&state, settle, clock.monotonic(), begin);
        loop {
            if state.is_stopped_for_good() {
                return Ok(Event::FoundStopped);
            }
            if watch.is_another(&state) && self.died(unit, &watch.first.invocation, began).await {
                return Ok(Event::Failed(Cause::RestartedItself { restarts: 1 }));
            }
            let now = clock.monotonic();
            watch.begin_anew(&state, now);
            if let Some(cause) = watch.fault(&state) {
                return Ok(Event::Failed(cause));
            }
            let running = engine.running(unit, reference).await?;
            watch.wait_for_new(&state, &running, now);
            let settled = now >= watch.until;
            let counts = self.options.health(unit);
            let healths = || running.iter().filter_map(|running| running.health).filter(|_| counts);
            let fault = watch
                .loss(&state, &running, settled)
                .or_else(|| mismatch(&state, &image.manifest, &running, settled))
                .or_else(|| healths().find_map(|health| watch.illness(health, now)));
            if let Some(cause) = fault {
                return Ok(Event::Failed(cause));
            }
            let is_starting = healths().any(|health| health.state == HealthState::Starting);
            if settled && !is_starting {
                match self.question(unit).await {
                    Ok(()) => return Ok(Event::Succeeded),
                    Err(cause) if watch.has_waited(self.options.probe(unit), clock.monotonic()) => {
                        return Ok(Event::Failed(cause));
                    }
                    Err(_) => {}
                }
            }
            let left = watch.until.saturating_sub(now);
            clock.sleep(if settled { LOOK } else { left.min(LOOK) }).await;
            state = self.recalled(unit, begin).await?;
        }
    }
}

impl<W: World> Updater<W> {
    /// Whether a run of the unit came to a bad end that nobody asked for: what started the unit again,
    /// such as a socket, does not count as somebody who restarts it.
    async fn died(&self, unit: &UnitName, invocation: &str, since: Timestamp) -> bool {
        // Without a journal it is taken for a restart by somebody.
        let told = self.world.journal().runs(unit, since).await.unwrap_or_default();
        let mut run = told.iter().filter(|run| run.invocation == invocation && !run.stop_asked);
        run.any(|run| run.result.as_deref().is_some_and(|result| result != "success"))
    }
}

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);

impl<W: World> Updater<W> {
    /// Asks what the operator has the unit asked, once.
    async fn question(&self, unit: &UnitName) -> Result<(), Cause> {
        let Some((probe, time)) = self.options.probe(unit) else { return Ok(()) };
        let asked = self.world.prober().ask(probe, time.clamp(Duration::from_secs(1), ANSWER));
        asked.await.map_err(|why| Cause::Probe { probe: probe.to_string(), why })
    }
}

impl Watch {
    /// Whether a probe has had its time. It begins anew where the settle time does, and for a
    /// container that takes long to be healthy when that is over.
    fn has_waited(&mut self, probe: Option<(&Probe, Duration)>, now: Duration) -> bool {
        let asked = *self.asked.get_or_insert(now);
        probe.is_none_or(|(_, time)| now >= asked.saturating_add(time))
    }

    fn begin(state: &UnitState, settle: Duration, now: Duration, begin: Begin) -> Self {
        // What was restarted by this process counts from zero. After a boot the unit may have been
        // restarted for reasons that have nothing to do with its image.
        let restarts = if begin.is_resumed() { state.restarts } else { 0 };
        let until = now.saturating_add(settle);
        let first = UnitState { restarts, ..state.clone() };
        let patience = until.saturating_add(PATIENCE);
        Self {
            first,
            settle,
            until,
            patience,
            members: BTreeMap::new(),
            missed: false,
            asked: None,
        }
    }

    /// The settle time begins when the unit is up, and again when somebody starts it anew.
    fn begin_anew(&mut self, state: &UnitState, now: Duration) {
        let anew = state.invocation != self.first.invocation && !self.restarted_itself(state);
        if (anew || state.is_starting()) && now < self.patience {
            let restarts = self.first.restarts;
            self.first = UnitState { restarts, ..state.clone() };
            self.until = now.saturating_add(self.settle);
            self.members.clear();
            self.asked = None;
        }
    }

    /// Each container is watched for the settle time, also one that its unit did not wait for.
    fn wait_for_new(&mut self, state: &UnitState, running: &[Running], now: Duration) {
        // One whose unit stays active without processes is not watched.
        if state.sub == "exited" {
            return;
        }
        let known = |one: &Running| self.members.contains_key(&one.container);
        if !running.iter().all(known) && now < self.patience {
            self.until = now.saturating_add(self.settle);
        }
    }

    /// A container that ended and came back, or did not, while its unit went on: a pod's. One that
    /// is missing at a single look may have gone with its unit, which then tells why, unless it is
    /// the last look.
    fn loss(&mut self, state: &UnitState, running: &[Running], last: bool) -> Option<Cause> {
        // One that ended is none where its unit stays active without processes.
        if state.sub == "exited" {
            return None;
        }
        for Running { container, restarts, .. } in running {
            let before = *self.members.entry(container.clone()).or_insert(*restarts);
            if *restarts > before {
                return Some(Cause::ContainerEnded { container: container.short().to_owned() });
            }
        }
        let there = |id: &ContainerId| running.iter().any(|running| &running.container == id);
        let lost = self.members.keys().find(|id| !there(id));
        let missed = std::mem::replace(&mut self.missed, lost.is_some());
        let lost = lost.filter(|_| missed || last)?;
        Some(Cause::ContainerEnded { container: lost.short().to_owned() })
    }

    /// Whether the unit was started anew, and not by systemd's own restart.
    fn is_another(&self, state: &UnitState) -> bool {
        let first = &self.first.invocation;
        !first.is_empty() && &state.invocation != first && !self.restarted_itself(state)
    }

    fn restarted_itself(&self, state: &UnitState) -> bool {
        state.restarts > self.first.restarts || state.sub == "auto-restart"
    }

    /// What is wrong with a unit in this state.
    fn fault(&self, state: &UnitState) -> Option<Cause> {
        if self.restarted_itself(state) {
            return Some(Cause::RestartedItself { restarts: state.restarts.max(1) });
        }
        let up = matches!(state.active.as_str(), "active" | "reloading" | "refreshing");
        let may_come_up = state.is_starting() && self.until < self.patience;
        if !(up || may_come_up) {
            let UnitState { active, sub, result, .. } = state.clone();
            // Behind a container that was started it is the program's own status.
            return Some(match state.main_status {
                LAUNCHER_FAILED if !state.announced => Cause::Launcher,
                _ => Cause::NotActive { active, sub, result },
            });
        }
        (state.invocation != self.first.invocation).then_some(Cause::StartedAnew)
    }

    /// What is wrong with a container whose checks say this. After the settle time, it has its own.
    fn illness(&self, health: Health, now: Duration) -> Option<Cause> {
        match health.state {
            HealthState::Healthy => None,
            HealthState::Unhealthy => Some(Cause::Unhealthy { streak: health.failing_streak }),
            HealthState::Starting => (now >= self.until.saturating_add(health.patience))
                .then_some(Cause::NotHealthy { seconds: health.patience.as_secs() }),
        }
    }
}

/// Whether the unit runs another image than it was given. A container that is not there yet is one
/// only at the end (a unit of Type=simple is active before its container is); one that ended is
/// none where the unit stays active without processes (RemainAfterExit=).
fn mismatch(
    state: &UnitState,
    expected: &Digest,
    running: &[Running],
    last: bool,
) -> Option<Cause> {
    let other = running.iter().find(|running| !running.runs(expected));
    let found = other.map(|running| running.image.manifest.clone());
    let missing = running.is_empty() && state.sub != "exited" && last;
    (found.is_some() || missing).then(|| Cause::WrongImage { expected: expected.clone(), found })
}
