//! Units that stop with the one that is updated: those that ran before run again afterwards, but for
//! those that an operator stopped meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::execute::Course;
use super::port::{Clock, Dependent, InFlight, JobError, Manager, Standing, UnitState, World};
use super::recall::is_same_boot;
use super::restart::not_queued;
use super::updater::Updater;
use crate::model::{Failure, FailureKind, UnitName};
use crate::plan::rollout::{Event, Step};
use crate::plan::{Cause, Graph, JobResult};

/// The end of a unit's last restart by us.
#[derive(Debug, Clone)]
pub(super) struct LastRestart {
    /// On the manager's clock.
    ended: Duration,
    /// The unit's invocation since.
    pub(super) invocation: String,
    /// Those of the units that stop with it.
    dependents: BTreeMap<String, String>,
}

impl<W: World> Updater<W> {
    /// systemd's graph around `units`, as far as anything follows them.
    pub(super) async fn graph(&self, units: &BTreeSet<&UnitName>) -> Result<Graph, Failure> {
        let mut graph = Graph::default();
        loop {
            let unknown = graph.unknown(units.iter().map(|unit| unit.as_str()));
            if unknown.is_empty() {
                return Ok(graph);
            }
            for unit in unknown {
                let followers = self.world.manager().followers(&unit).await?;
                graph.learn(unit, followers);
            }
        }
    }

    /// The units that run, or are about to, and stop with `unit`. Those that end by themselves are
    /// none: nobody counts on them to run.
    pub(super) async fn dependents(&self, unit: &UnitName) -> Result<Vec<Dependent>, Failure> {
        let manager = self.world.manager();
        let mut reached = vec![unit.to_string()];
        let mut next = 0;
        while let Some(at) = reached.get(next).cloned() {
            let found = manager.followers(&at).await?.dependents;
            let new = found.into_iter().filter(|unit| !reached.contains(unit));
            let new: Vec<String> = new.collect();
            reached.extend(new);
            next += 1;
        }
        let mut running = Vec::new();
        for unit in reached.into_iter().skip(1) {
            let standing = manager.standing(&unit).await?;
            if standing.is_wanted() && !standing.transient {
                let restless = standing.is_restless(manager.now());
                running.push(Dependent { unit, restless });
            }
        }
        Ok(running)
    }

    pub(super) async fn remember_restart(
        &self,
        Step { unit, .. }: &Step,
        flight: &InFlight,
        course: &Course,
    ) {
        let manager = self.world.manager();
        let ended = manager.now();
        // Of a unit that cannot be read nothing is known, and who stopped with it comes up again.
        let Ok(UnitState { invocation, .. }) = manager.state(unit).await else { return };
        let mut dependents = BTreeMap::new();
        for Dependent { unit, .. } in flight.dependents.get(unit).into_iter().flatten() {
            if let Ok(standing) = manager.standing(unit).await {
                dependents.insert(unit.clone(), standing.invocation);
            }
        }
        course.remember(unit, LastRestart { ended, invocation, dependents });
    }

    /// Leaves out those that an operator stopped since the unit's last restart.
    pub(super) async fn forget_stopped(
        &self,
        step: &Step,
        dependents: &mut Vec<Dependent>,
        boot: &str,
        course: &Course,
    ) {
        if dependents.is_empty() {
            return;
        }
        let manager = self.world.manager();
        let Ok(unit) = manager.state(&step.unit).await else { return };
        let last = course.last_restart(&step.unit);
        let booted = !is_same_boot(boot, &manager.boot().await);
        let mut wanted = Vec::new();
        for dependent in dependents.drain(..) {
            let stopped = match manager.standing(&dependent.unit).await {
                Ok(standing) => standing.was_stopped(&unit, last.as_ref(), booted),
                Err(_) => false,
            };
            if !stopped {
                wanted.push(dependent);
            }
        }
        *dependents = wanted;
    }

    /// Starts those that do not run, where the unit does. Those that had to be started, by us or by
    /// systemd itself, are watched for the unit's settle time.
    pub(super) async fn revive(
        &self,
        step: &Step,
        mut dependents: Vec<Dependent>,
        flight: &InFlight,
        course: &Course,
    ) -> Event {
        self.forget_stopped(step, &mut dependents, &flight.boot, course).await;
        if dependents.is_empty() || !self.is_up(&step.unit).await {
            return Event::Succeeded;
        }
        let last = course.last_restart(&step.unit);
        let mut watched = BTreeMap::new();
        for Dependent { unit, restless } in dependents {
            match self.bring_up(&unit, last.as_ref()).await {
                // It could not be relied on before.
                _ if restless => {}
                Ok(None) => {}
                Ok(Some(invocation)) => drop(watched.insert(unit, invocation)),
                Err(event) => return event,
            }
        }
        if watched.is_empty() {
            return Event::Succeeded;
        }
        self.world.clock().sleep(self.options.settle(&step.unit)).await;
        for (unit, invocation) in watched {
            match self.world.manager().standing(&unit).await {
                Ok(standing) => {
                    if let Some(why) = standing.trouble(&invocation) {
                        return dead(unit, why);
                    }
                }
                Err(failure) => return host(failure),
            }
        }
        Event::Succeeded
    }

    async fn is_up(&self, unit: &UnitName) -> bool {
        let state = self.world.manager().state(unit).await;
        state.is_ok_and(|state| is_up(&state.active))
    }

    /// Starts a unit that does not run. One that is about to start is waited for. Returns the
    /// invocation of one that has to be watched.
    async fn bring_up(
        &self,
        unit: &str,
        last: Option<&LastRestart>,
    ) -> Result<Option<String>, Event> {
        let manager = self.world.manager();
        let standing = manager.standing(unit).await.map_err(host)?;
        if is_up(&standing.active) {
            let before = last.and_then(|last| last.dependents.get(unit));
            let by_itself = standing.restarts > 0 && before != Some(&standing.invocation);
            return Ok(by_itself.then_some(standing.invocation));
        }
        manager.reset_failed(unit).await.map_err(host)?;
        match manager.start(unit).await {
            Ok(JobResult::Done) => Ok(Some(manager.standing(unit).await.map_err(host)?.invocation)),
            // Somebody wants it otherwise.
            Ok(JobResult::Canceled) => Ok(None),
            Ok(result) => {
                Err(dead(unit.to_owned(), format!("its start job ended with \"{result}\"")))
            }
            Err(JobError::Refused(failure) | JobError::Stuck(failure)) => Err(host(failure)),
            Err(JobError::NoSuchUnit(message)) => {
                Err(host(Failure::new(FailureKind::Local, message)))
            }
            Err(error) => Err(not_queued(error)),
        }
    }
}

fn dead(unit: String, why: String) -> Event {
    Event::Failed(Cause::Dependent { unit, why })
}

/// What the host did says nothing of an image.
fn host(failure: Failure) -> Event {
    Event::Failed(Cause::Host { failure })
}

pub(super) fn is_up(active: &str) -> bool {
    matches!(active, "active" | "reloading" | "refreshing")
}

/// For so long a unit that systemd had to restart has to run, to count as one that does.
const STEADY: Duration = Duration::from_secs(10 * 60);

impl Standing {
    /// Whether it runs, or is about to.
    fn is_wanted(&self) -> bool {
        let starts = matches!(self.job.as_deref(), Some("start" | "restart" | "reload-or-start"));
        is_up(&self.active) || self.active == "activating" || starts
    }

    /// Whether systemd had to restart it shortly before.
    fn is_restless(&self, now: Duration) -> bool {
        let lately = now < self.entered.saturating_add(STEADY);
        self.sub == "auto-restart" || (self.restarts > 0 && lately)
    }

    /// What is wrong with it since it ran as `invocation`; nothing is with one that somebody stopped.
    fn trouble(&self, invocation: &str) -> Option<String> {
        if self.restarts > 0 && self.invocation != invocation {
            return Some("systemd restarts it again and again".to_owned());
        }
        let left = self.stopped_on_request || self.came_to_its_end;
        (!is_up(&self.active) && !left).then(|| format!("it is {}", self.active))
    }

    /// Whether somebody stopped it, rather than that it stopped with the unit. It stopped with it
    /// where the unit itself went down at that time, or has been started anew since: in doubt, it ran
    /// before, and runs again.
    fn was_stopped(&self, unit: &UnitState, last: Option<&LastRestart>, booted: bool) -> bool {
        if self.is_wanted() {
            return false;
        }
        if booted {
            // A boot starts what is to run, but for those whose start waited for the unit in vain.
            return !self.was_started && !self.is_enabled;
        }
        let Some(last) = last else { return false };
        // One that went down in the moment in which its restart was noted did not stand any more.
        let stands = is_up(&unit.active) && unit.left <= last.ended;
        let stood = stands || unit.left > self.left;
        let by_request = self.stopped_on_request && self.left > last.ended;
        by_request && stood && unit.invocation == last.invocation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A unit, since when it is as it is, in the run that its restart began.
    fn unit(active: &str, left: u64) -> UnitState {
        UnitState {
            active: active.to_owned(),
            left: at(left),
            invocation: "1".to_owned(),
            ..UnitState::default()
        }
    }

    #[test]
    fn who_goes_down_with_a_unit_was_not_stopped() {
        let last =
            LastRestart { ended: at(100), invocation: "1".to_owned(), dependents: BTreeMap::new() };
        let dependent = Standing {
            active: "inactive".to_owned(),
            stopped_on_request: true,
            was_started: true,
            left: at(110),
            ..Standing::default()
        };
        for (active, left, stopped) in [
            ("active", 50, true),
            ("failed", 120, true),
            ("failed", 105, false),
            // It crashed just before its restart had been noted.
            ("failed", 95, false),
        ] {
            let told = dependent.was_stopped(&unit(active, left), Some(&last), false);
            assert_eq!(told, stopped, "{active} since {left}");
        }
    }
}
