//! What a unit wrote last before it failed: kept with the rollout at the verdict, because the next
//! start of the unit may write a great deal more.

use super::execute::Course;
use super::port::{InFlight, Journal, Manager, World};
use super::report::Excerpt;
use super::updater::Updater;
use crate::model::UnitName;
use crate::plan::Cause;
use crate::plan::rollout::{self, Mark, Phase};

impl InFlight {
    /// Keeps what was read for `unit`, once of each run.
    pub(super) fn keep_logs(&mut self, unit: &UnitName, logs: Vec<Excerpt>) {
        for log in logs {
            let kept = self.logs.entry(unit.clone()).or_default();
            if kept.iter().all(|kept| kept.invocation != log.invocation) {
                kept.push(log);
            }
        }
    }
}

impl<W: World> Updater<W> {
    /// The last lines of the unit that `event` is about, where it failed.
    pub(super) async fn last_words(
        &self,
        flight: &InFlight,
        at: Option<usize>,
        event: &rollout::Event,
        course: &Course,
    ) -> Vec<Excerpt> {
        let rollout::Event::Failed(cause) = event else { return vec![] };
        let InFlight { rollout, progress, .. } = flight;
        let step = at.and_then(|at| rollout.steps.get(at).zip(progress.marks.get(at)));
        let Some((step, Mark::Moving { phase } | Mark::Returning { phase, .. })) = step else {
            return vec![];
        };
        if *phase == Phase::Binding {
            return vec![];
        }
        let unit = &step.unit;
        let mut found = vec![(unit.to_string(), self.runs_of(unit, course).await)];
        if let Cause::Dependent { unit, .. } = cause
            && let Ok(standing) = self.world.manager().standing(unit).await
        {
            found.push((unit.clone(), vec![standing.invocation]));
        }
        let mut logs = Vec::new();
        for (of, runs) in found {
            if let Some(invocation) = runs.last().filter(|run| !run.is_empty()).cloned() {
                logs.push(self.excerpt(of, invocation, &runs).await);
            }
        }
        logs
    }

    /// The invocations of a unit since its restart by us: systemd may have started it again since.
    async fn runs_of(&self, unit: &UnitName, course: &Course) -> Vec<String> {
        let first = course.last_restart(unit).map(|last| last.invocation);
        let now = self.world.manager().state(unit).await.ok().map(|state| state.invocation);
        let mut runs: Vec<String> = first.into_iter().chain(now).collect();
        runs.dedup();
        runs
    }

    pub(super) async fn excerpt(
        &self,
        unit: String,
        invocation: String,
        runs: &[String],
    ) -> Excerpt {
        let (lines, missing) = match self.world.journal().last(runs).await {
            Ok(lines) => (lines, String::new()),
            Err(why) => (vec![], why),
        };
        Excerpt { unit, invocation, lines, missing }
    }
}
