//! One rollout as a state machine: total over (state, event), one action for each state.
//!
//! The executor persists [`Progress`] before it carries out [`action`], so that whatever happens
//! in between, the same action is due again at the next start.
//!
//! Architecture invariant: every action may be carried out twice.

use serde::{Deserialize, Serialize};

use super::rollout_cause::Cause;
use crate::model::{EngineKind, ImageIdentity, ImageSource, Policy, Reference, UnitName};

/// One image brought to all units of a reference, the first of which is the canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub source: ImageSource,
    pub engine: EngineKind,
    pub policy: Policy,
    pub new: ImageIdentity,
    /// Whether the tag moves when all units run the new image.
    pub moves_tag: bool,
    /// Units on the reference that run the new image already.
    #[serde(default)]
    pub settled: Vec<UnitName>,
    /// In the order in which they are restarted. Never empty.
    pub steps: Vec<Step>,
}

impl Rollout {
    pub fn reference(&self) -> &Reference {
        &self.source.reference
    }
}

/// One unit of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub unit: UnitName,
    /// The names of the unit's containers on the reference.
    pub containers: Vec<String>,
    /// What they run now, and what comes back if the new image fails.
    pub old: ImageIdentity,
    /// Other images of the unit that come with the same restart: a pod is restarted once. Each has a
    /// rollout of its own, that follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub along: Vec<Along>,
    /// Whether the new image may have come along with another rollout's restart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub led: bool,
}

/// Another image of a unit that is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Along {
    pub source: ImageSource,
    pub old: ImageIdentity,
    pub new: ImageIdentity,
}

/// Where a rollout stands: everything that must survive a power cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub state: State,
    /// One for each step.
    pub marks: Vec<Mark>,
    /// Why the rollout goes back, where it does.
    pub cause: Option<Cause>,
    /// The step that this cause comes from; `None` where it comes from no unit.
    #[serde(default)]
    pub failed: Option<usize>,
}

/// What the rollout does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    Staging,
    Forward { at: usize, phase: Phase },
    Committing,
    Back { at: usize, phase: Phase },
    Releasing,
    Ended,
}

/// What is done to one unit, forward and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Binding,
    Restarting,
    Verifying,
    /// Those that stopped with it come up again.
    Reviving,
}

/// What became of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mark")]
pub enum Mark {
    Untouched,
    /// Runs the new image, verified.
    Updated,
    /// Runs to its end by itself, and gets the new image at its next start.
    Deferred,
    /// It was stopped meanwhile: never started for the update's sake.
    Stopped,
    /// Nothing could be begun: it is as it was.
    Unbegun,
    /// Runs the old image again, verified.
    PutBack,
    /// The update failed and rollback is switched off, or the image could not be staged.
    Failed,
    /// The way back failed as well: an operator is needed.
    Stuck {
        cause: Cause,
    },
}

/// What the executor has to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// Bring the new image into storage.
    Stage,
    /// Give the unit the new image, and what comes along with it, at its next start.
    Promote { step: &'a Step },
    /// Give the unit the old images at its next start.
    PutBack { step: &'a Step },
    /// Restart the unit if it still runs.
    TryRestart { step: &'a Step },
    /// Restart the unit whether it runs or not.
    Restart { step: &'a Step },
    /// Wait and see whether the unit came back and runs this image.
    Verify { step: &'a Step, image: &'a ImageIdentity },
    /// See that the units that ran before and stop with this one run again.
    Revive { step: &'a Step },
    /// Move the tag, where it moves.
    Commit,
    /// Drop the bindings that say what the tag says.
    Release,
    /// Nothing is left.
    Nothing,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Succeeded,
    /// The unit was stopped, and not by us.
    FoundStopped,
    /// The unit is at work that a restart would cut off, and ends by itself.
    FoundTransient,
    /// The unit is as it was: nothing was done to it.
    NotBegun(Cause),
    Failed(Cause),
}

impl Progress {
    /// The state before the first action.
    pub fn start(rollout: &Rollout) -> Self {
        let marks = vec![Mark::Untouched; rollout.steps.len()];
        Self { state: State::Staging, marks, cause: None, failed: None }
    }
}

/// The action that is due.
pub fn action<'a>(rollout: &'a Rollout, progress: &Progress) -> Action<'a> {
    let step = |at: usize| rollout.steps.get(at);
    match progress.state {
        State::Staging => Action::Stage,
        State::Committing => Action::Commit,
        State::Releasing => Action::Release,
        State::Ended => Action::Nothing,
        State::Forward { at, phase } => step(at).map_or(Action::Nothing, |step| match phase {
            Phase::Binding => Action::Promote { step },
            Phase::Restarting => Action::TryRestart { step },
            Phase::Verifying => Action::Verify { step, image: &rollout.new },
            Phase::Reviving => Action::Revive { step },
        }),
        State::Back { at, phase } => step(at).map_or(Action::Nothing, |step| match phase {
            Phase::Binding => Action::PutBack { step },
            Phase::Restarting => Action::Restart { step },
            Phase::Verifying => Action::Verify { step, image: &step.old },
            Phase::Reviving => Action::Revive { step },
        }),
    }
}

/// The progress after `event`. Total: an event that cannot happen in a state changes nothing that
/// a person or a unit would notice.
pub fn next(rollout: &Rollout, progress: Progress, event: Event, rollback: bool) -> Progress {
    let Progress { state, mut marks, mut cause, mut failed } = progress;
    let last = rollout.steps.len();
    let state = match (state, event) {
        (State::Staging, Event::Succeeded) => forward(0, last, &marks),
        (State::Staging, Event::Failed(why)) => {
            marks.fill(Mark::Failed);
            cause = Some(why);
            State::Ended
        }
        (State::Staging, Event::NotBegun(why)) => {
            cause = Some(why);
            State::Ended
        }
        (State::Forward { at, phase }, Event::Succeeded) => match following(phase) {
            Some(phase) => State::Forward { at, phase },
            None => {
                mark(&mut marks, at, Mark::Updated);
                forward(at + 1, last, &marks)
            }
        },
        (State::Forward { at, .. }, Event::FoundStopped) => {
            mark(&mut marks, at, Mark::Stopped);
            forward(at + 1, last, &marks)
        }
        (State::Forward { at, .. }, Event::FoundTransient) => {
            mark(&mut marks, at, Mark::Deferred);
            forward(at + 1, last, &marks)
        }
        (State::Forward { at, .. }, Event::NotBegun(why)) => {
            (cause, failed) = (Some(why), Some(at));
            mark(&mut marks, at, Mark::Unbegun);
            if rollback { back_before(at, &mut marks) } else { State::Releasing }
        }
        (State::Forward { at, .. }, Event::Failed(why)) => {
            (cause, failed) = (Some(why), Some(at));
            if rollback {
                State::Back { at, phase: Phase::Binding }
            } else {
                mark(&mut marks, at, Mark::Failed);
                State::Releasing
            }
        }
        // Units run what is to be committed: the commit is tried until it succeeds.
        (State::Committing, Event::Failed(_) | Event::NotBegun(_)) => State::Committing,
        (State::Committing, _) => State::Releasing,
        (State::Back { at, phase }, Event::Succeeded) => match following(phase) {
            Some(phase) => State::Back { at, phase },
            None => {
                if !is_stuck(&marks, at) {
                    mark(&mut marks, at, Mark::PutBack);
                }
                back_before(at, &mut marks)
            }
        },
        // It may run all the same, and those that stop with it with it.
        (
            State::Back { at, phase: Phase::Verifying },
            Event::Failed(why) | Event::NotBegun(why),
        ) => {
            mark(&mut marks, at, Mark::Stuck { cause: why });
            State::Back { at, phase: Phase::Reviving }
        }
        (State::Back { at, .. }, Event::Failed(why) | Event::NotBegun(why)) => {
            if !is_stuck(&marks, at) {
                mark(&mut marks, at, Mark::Stuck { cause: why });
            }
            back_before(at, &mut marks)
        }
        (State::Back { at, .. }, Event::FoundStopped | Event::FoundTransient) => {
            mark(&mut marks, at, Mark::Stopped);
            back_before(at, &mut marks)
        }
        (State::Staging, Event::FoundStopped | Event::FoundTransient) => State::Staging,
        (State::Releasing, Event::Failed(_) | Event::NotBegun(_)) => State::Releasing,
        (State::Releasing | State::Ended, _) => State::Ended,
    };
    Progress { state, marks, cause, failed }
}

/// The image that a unit shall have at the end, whatever the tag says.
pub fn destined<'a>(rollout: &'a Rollout, step: &'a Step, mark: &Mark) -> &'a ImageIdentity {
    match mark {
        Mark::Updated | Mark::Deferred | Mark::Failed => &rollout.new,
        Mark::Untouched | Mark::Unbegun | Mark::Stopped | Mark::PutBack | Mark::Stuck { .. } => {
            &step.old
        }
    }
}

/// The image that the tag shall stand for at the end, where units have no bindings; `None` where it
/// was not touched. What one unit verified, all get.
pub fn tagged<'a>(rollout: &'a Rollout, marks: &[Mark]) -> Option<&'a ImageIdentity> {
    let moved = |mark: &Mark| matches!(mark, Mark::Updated | Mark::Deferred | Mark::Failed);
    if marks.iter().any(moved) {
        return Some(&rollout.new);
    }
    let touched = |mark: &Mark| !matches!(mark, Mark::Untouched | Mark::Unbegun);
    let back = rollout.steps.iter().zip(marks).find(|(_, mark)| touched(mark));
    back.map(|(step, _)| &step.old)
}

/// The unit that proves the new image bad. Where others came along with the image, none does: each
/// is tried alone next.
pub fn condemned_by<'a>(rollout: &'a Rollout, progress: &Progress) -> Option<&'a Step> {
    let step = progress.failed.and_then(|at| rollout.steps.get(at))?;
    (proves_image_bad(progress) && step.along.is_empty()).then_some(step)
}

/// Whether the new image, or what came along with it, is proven bad: it failed a unit by its own
/// doing, and the old one, put back into that unit, verified.
pub fn proves_image_bad(progress: &Progress) -> bool {
    let to_blame = progress.cause.as_ref().is_some_and(Cause::blames_image);
    let failed = progress.failed.and_then(|at| progress.marks.get(at));
    let came_back = failed == Some(&Mark::PutBack);
    let stuck = progress.marks.iter().any(|mark| matches!(mark, Mark::Stuck { .. }));
    to_blame && came_back && !stuck
}

fn following(phase: Phase) -> Option<Phase> {
    match phase {
        Phase::Binding => Some(Phase::Restarting),
        Phase::Restarting => Some(Phase::Verifying),
        Phase::Verifying => Some(Phase::Reviving),
        Phase::Reviving => None,
    }
}

/// The next unit, or the end: nothing is committed that no unit verified.
fn forward(at: usize, last: usize, marks: &[Mark]) -> State {
    if at < last {
        State::Forward { at, phase: Phase::Binding }
    } else if marks.iter().any(|mark| matches!(mark, Mark::Updated | Mark::Deferred)) {
        State::Committing
    } else {
        State::Releasing
    }
}

/// The unit updated last before `at` goes back next: one tag, one truth. A unit that would have got
/// the new image at its next start gets the old one, and nothing is done to it.
fn back_before(at: usize, marks: &mut [Mark]) -> State {
    for mark in marks.iter_mut().filter(|mark| **mark == Mark::Deferred) {
        *mark = Mark::Untouched;
    }
    let moved = |index: &usize| marks.get(*index) == Some(&Mark::Updated);
    match (0..at).rev().find(moved) {
        Some(at) => State::Back { at, phase: Phase::Binding },
        None => State::Releasing,
    }
}

fn is_stuck(marks: &[Mark], at: usize) -> bool {
    matches!(marks.get(at), Some(Mark::Stuck { .. }))
}

fn mark(marks: &mut [Mark], at: usize, mark: Mark) {
    if let Some(slot) = marks.get_mut(at) {
        *slot = mark;
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
