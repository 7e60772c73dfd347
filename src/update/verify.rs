//! Whether a unit really came back: active for its settle time, without an automatic restart, with
//! the image it was given.

use std::time::Duration;

use super::port::{Clock, Engine, Manager, UnitState, World};
use super::restart::{LAUNCHER_FAILED, stopped_by_operator};
use super::updater::Updater;
use crate::model::{Digest, Failure, ImageIdentity, Reference, UnitName};
use crate::plan::Cause;
use crate::plan::rollout::Event;

/// The longest time between two looks at a unit. What happens in between is not missed: systemd
/// counts automatic restarts, and each start has an invocation ID of its own.
const LOOK: Duration = Duration::from_millis(500);

impl<W: World> Updater<W> {
    /// Watches `unit` for its settle time.
    pub(super) async fn verify(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Event {
        match self.watch(unit, reference, image).await {
            Ok(event) => event,
            Err(failure) => Event::Failed(Cause::Host { failure }),
        }
    }

    async fn watch(
        &self,
        unit: &UnitName,
        reference: &Reference,
        image: &ImageIdentity,
    ) -> Result<Event, Failure> {
        let clock = self.world.clock();
        let until = clock.monotonic().saturating_add(self.options.settle(unit));
        let first = self.world.manager().state(unit).await?;
        let mut state = first.clone();
        loop {
            if stopped_by_operator(&state) {
                return Ok(Event::FoundStopped);
            }
            let last = clock.monotonic() >= until;
            if let Some(cause) = fault(&first, &state, last) {
                return Ok(Event::Failed(cause));
            }
            let running = self.world.engine().running(unit, reference).await?;
            if let Some(cause) = mismatch(&state, &image.manifest, running, last) {
                return Ok(Event::Failed(cause));
            }
            if last {
                return Ok(Event::Succeeded);
            }
            clock.sleep(until.saturating_sub(clock.monotonic()).min(LOOK)).await;
            state = self.world.manager().state(unit).await?;
        }
    }
}

/// What is wrong with a unit in this state. A unit that is still starting (as it may be where a
/// rollout is taken up again at boot) has until the last look.
fn fault(first: &UnitState, state: &UnitState, last: bool) -> Option<Cause> {
    if state.restarts > 0 || state.sub == "auto-restart" {
        return Some(Cause::RestartedItself { restarts: state.restarts.max(1) });
    }
    match state.active.as_str() {
        "active" | "reloading" | "refreshing" => {}
        "activating" if !last => {}
        _ if state.main_status == LAUNCHER_FAILED => return Some(Cause::Launcher),
        _ => {
            return Some(Cause::NotActive {
                active: state.active.clone(),
                sub: state.sub.clone(),
                result: state.result.clone(),
            });
        }
    }
    (state.invocation != first.invocation).then_some(Cause::StartedAnew)
}

/// Whether the unit runs another image than it was given. A container that is not there yet is one
/// only at the end (a unit of Type=simple is active before its container is); one that ended is
/// none where the unit stays active without processes (RemainAfterExit=).
fn mismatch(
    state: &UnitState,
    expected: &Digest,
    running: Option<ImageIdentity>,
    last: bool,
) -> Option<Cause> {
    let found = running.map(|image| image.manifest);
    let gone_by_design = found.is_none() && (state.sub == "exited" || !last);
    if found.as_ref() == Some(expected) || gone_by_design {
        return None;
    }
    Some(Cause::WrongImage { expected: expected.clone(), found })
}
