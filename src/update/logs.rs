//! What a unit wrote last before it failed: kept with the rollout at the verdict, because the next
//! start of the unit may write a great deal more.

use super::execute::Course;
use super::port::{InFlight, Journal, Manager, World};
use super::report::Excerpt;
use super::updater::Updater;
use crate::model::UnitName;
use crate::plan::Cause;
use crate::plan::rollout::{self, Phase, State};

impl<W: World> Updater<W> {
    /// Keeps the last lines of the unit that `event` is about, where it failed.
    pub(super) async fn keep_log(
        &self,
        flight: &mut InFlight,
        event: &rollout::Event,
        course: &Course,
    ) {
        let rollout::Event::Failed(cause) = event else { return };
        let (State::Forward { at, phase } | State::Back { at, phase }) = flight.progress.state
        else {
            return;
        };
        let Some(step) = flight.rollout.steps.get(at).filter(|_| phase != Phase::Binding) else {
            return;
        };
        let unit = step.unit.clone();
        let mut found = vec![(unit.to_string(), self.runs_of(&unit, course).await)];
        if let Cause::Dependent { unit, .. } = cause
            && let Ok(standing) = self.world.manager().standing(unit).await
        {
            found.push((unit.clone(), vec![standing.invocation]));
        }
        for (of, runs) in found {
            let kept = flight.logs.entry(unit.clone()).or_default();
            let is_kept = |run: &String| kept.iter().any(|kept| &kept.invocation == run);
            let new = runs.last().filter(|run| !run.is_empty() && !is_kept(run)).cloned();
            if let Some(invocation) = new {
                kept.push(self.excerpt(of, invocation, &runs).await);
            }
        }
    }

    /// The invocations of a unit since its restart by us: systemd may have started it again since.
    async fn runs_of(&self, unit: &UnitName, course: &Course) -> Vec<String> {
        let first = course.restarts.get(unit).map(|last| last.invocation.clone());
        let now = self.world.manager().state(unit).await.ok().map(|state| state.invocation);
        let mut runs: Vec<String> = first.into_iter().chain(now).collect();
        runs.dedup();
        runs
    }

    async fn excerpt(&self, unit: String, invocation: String, runs: &[String]) -> Excerpt {
        let (lines, missing) = match self.world.journal().last(runs).await {
            Ok(lines) => (lines, String::new()),
            Err(why) => (vec![], why),
        };
        Excerpt { unit, invocation, lines, missing }
    }
}
