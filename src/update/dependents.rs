//! Units that stop with the one that is updated: those that ran before run again afterwards, but for
//! those that an operator stopped meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use super::execute::{Begin, Course};
use super::port::{Clock, JobError, Manager, Standing, UnitState, World};
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

    pub(super) async fn remember_restart(&self, unit: &UnitName, course: &mut Course) {
        let manager = self.world.manager();
        let ended = manager.now();
        // Of a unit that cannot be read nothing is known, and who stopped with it comes up again.
        if let Ok(UnitState { invocation, .. }) = manager.state(unit).await {
            course.restarts.insert(unit.clone(), LastRestart { ended, invocation });
        }
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

    /// Starts those that do not run. Those that had to be started are watched for the unit's settle
    /// time.
    pub(super) async fn revive(
        &self,
        step: &Step,
        mut dependents: Vec<String>,
        course: &Course,
    ) -> Event {
        self.forget_stopped(step, &mut dependents, course).await;
        let mut started = Vec::new();
        for dependent in dependents {
            match self.bring_up(&dependent).await {
                Ok(false) => {}
                Ok(true) => started.push(dependent),
                Err(event) => return event,
            }
        }
        if started.is_empty() {
            return Event::Succeeded;
        }
        self.world.clock().sleep(self.options.settle(&step.unit)).await;
        for dependent in started {
            match self.world.manager().standing(&dependent).await {
                Ok(standing) if standing.is_up() => {}
                Ok(standing) => return dead(dependent, format!("it is {}", standing.active)),
                Err(failure) => return dead(dependent, failure.to_string()),
            }
        }
        Event::Succeeded
    }

    /// Starts a unit that does not run, and says whether it had to. One that is about to start is
    /// waited for.
    async fn bring_up(&self, unit: &str) -> Result<bool, Event> {
        let manager = self.world.manager();
        let failed = |failure: Failure| dead(unit.to_owned(), failure.to_string());
        if manager.standing(unit).await.map_err(failed)?.is_up() {
            return Ok(false);
        }
        manager.reset_failed(unit).await.map_err(failed)?;
        match manager.start(unit).await {
            Ok(JobResult::Done) => Ok(true),
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
