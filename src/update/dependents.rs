//! Units that stop with the one that is updated: those that ran before run again afterwards, but for
//! those that an operator stopped meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::execute::{Begin, Course};
use super::port::{Clock, InFlight, JobError, Manager, Standing, UnitState, World};
use super::restart::not_queued;
use super::updater::Updater;
use crate::model::{Failure, UnitName};
use crate::plan::rollout::{Event, Step};
use crate::plan::{Cause, Graph, JobResult};

/// The end of a unit's last restart by us.
#[derive(Debug, Clone)]
pub(super) struct LastRestart {
    /// On the manager's clock.
    ended: Duration,
    /// The unit's invocation since.
    invocation: String,
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

    /// The units that run, or are about to, and stop with `unit`.
    pub(super) async fn dependents(&self, unit: &UnitName) -> Result<Vec<String>, Failure> {
        let manager = self.world.manager();
        let mut reached = vec![unit.to_string()];
        let mut next = 0;
        while let Some(at) = reached.get(next).cloned() {
            let found = manager.followers(&at).await?.dependents;
            let new: Vec<String> =
                found.into_iter().filter(|unit| !reached.contains(unit)).collect();
            reached.extend(new);
            next += 1;
        }
        let mut running = Vec::new();
        for dependent in reached.into_iter().skip(1) {
            if manager.standing(&dependent).await?.is_wanted() {
                running.push(dependent);
            }
        }
        Ok(running)
    }

    pub(super) async fn remember_restart(
        &self,
        Step { unit, .. }: &Step,
        flight: &InFlight,
        course: &mut Course,
    ) {
        let manager = self.world.manager();
        let ended = manager.now();
        // Of a unit that cannot be read nothing is known, and who stopped with it comes up again.
        let Ok(UnitState { invocation, .. }) = manager.state(unit).await else { return };
        let mut dependents = BTreeMap::new();
        for dependent in flight.dependents.get(unit).into_iter().flatten() {
            if let Ok(standing) = manager.standing(dependent).await {
                dependents.insert(dependent.clone(), standing.invocation);
            }
        }
        course.restarts.insert(unit.clone(), LastRestart { ended, invocation, dependents });
    }

    /// Leaves out those that an operator stopped since the unit's last restart.
    pub(super) async fn forget_stopped(
        &self,
        step: &Step,
        dependents: &mut Vec<String>,
        course: &Course,
    ) {
        if dependents.is_empty() {
            return;
        }
        let manager = self.world.manager();
        let Ok(unit) = manager.state(&step.unit).await else { return };
        let mut wanted = Vec::new();
        for dependent in dependents.drain(..) {
            let stopped = match manager.standing(&dependent).await {
                Ok(standing) => {
                    standing.was_stopped(&unit, course.restarts.get(&step.unit), course.begin)
                }
                Err(_) => false,
            };
            if !stopped {
                wanted.push(dependent);
            }
        }
        *dependents = wanted;
    }

    /// Starts those that do not run. Those that had to be started, by us or by systemd itself, are
    /// watched for the unit's settle time.
    pub(super) async fn revive(
        &self,
        step: &Step,
        mut dependents: Vec<String>,
        course: &Course,
    ) -> Event {
        self.forget_stopped(step, &mut dependents, course).await;
        let last = course.restarts.get(&step.unit);
        let mut watched = BTreeMap::new();
        for dependent in dependents {
            match self.bring_up(&dependent, last).await {
                Ok(None) => {}
                Ok(Some(invocation)) => drop(watched.insert(dependent, invocation)),
                Err(event) => return event,
            }
        }
        if watched.is_empty() {
            return Event::Succeeded;
        }
        self.world.clock().sleep(self.options.settle(&step.unit)).await;
        for (dependent, invocation) in watched {
            match self.world.manager().standing(&dependent).await {
                Ok(standing) if !standing.is_up() => {
                    return dead(dependent, format!("it is {}", standing.active));
                }
                Ok(standing) if standing.invocation != invocation && standing.restarts > 0 => {
                    return dead(dependent, "systemd restarts it again and again".to_owned());
                }
                Ok(_) => {}
                Err(failure) => return dead(dependent, failure.to_string()),
            }
        }
        Event::Succeeded
    }

    /// Starts a unit that does not run. One that is about to start is waited for. Returns the
    /// invocation of one that has to be watched.
    async fn bring_up(
        &self,
        unit: &str,
        last: Option<&LastRestart>,
    ) -> Result<Option<String>, Event> {
        let manager = self.world.manager();
        let failed = |failure: Failure| dead(unit.to_owned(), failure.to_string());
        let standing = manager.standing(unit).await.map_err(failed)?;
        if standing.is_up() {
            let before = last.and_then(|last| last.dependents.get(unit));
            let by_itself = standing.restarts > 0 && before != Some(&standing.invocation);
            return Ok(by_itself.then_some(standing.invocation));
        }
        manager.reset_failed(unit).await.map_err(failed)?;
        match manager.start(unit).await {
            Ok(JobResult::Done) => {
                Ok(Some(manager.standing(unit).await.map_err(failed)?.invocation))
            }
            Ok(result) => {
                Err(dead(unit.to_owned(), format!("its start job ended with \"{result}\"")))
            }
            Err(JobError::Refused(failure) | JobError::Stuck(failure)) => Err(failed(failure)),
            Err(JobError::NoSuchUnit(message)) => Err(dead(unit.to_owned(), message)),
            Err(error) => Err(not_queued(error)),
        }
    }
}

fn dead(unit: String, why: String) -> Event {
    Event::Failed(Cause::Dependent { unit, why })
}

impl Standing {
    fn is_up(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing")
    }

    /// Whether it runs, or is about to.
    fn is_wanted(&self) -> bool {
        let starts = matches!(self.job.as_deref(), Some("start" | "restart" | "reload-or-start"));
        self.is_up() || self.active == "activating" || starts
    }

    /// Whether somebody stopped it, rather than that it stopped with the unit. It stopped with it
    /// where the unit itself went down at that time, or has been started anew since: in doubt, it
    /// ran before, and runs again.
    fn was_stopped(&self, unit: &UnitState, last: Option<&LastRestart>, begin: Begin) -> bool {
        if self.is_wanted() {
            return false;
        }
        let Some(last) = last else {
            // A boot starts what is to run.
            return begin == Begin::Resumed && !self.was_started;
        };
        let stood = unit.left <= last.ended || unit.left > self.left;
        let by_request = self.stopped_on_request && self.left > last.ended;
        by_request && stood && unit.invocation == last.invocation
    }
}
