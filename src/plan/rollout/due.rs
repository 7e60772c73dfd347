//! What is due in a rollout: the actions of the units that are on their way, and which units may
//! begin.

use super::crew::{crew, go_together, has_verified, leads, waits_back, waits_forward};
use super::{Mark, Phase, Progress, Rollout, State, Step};
use crate::model::ImageIdentity;

/// What the executor has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// Bring the new image into storage.
    Stage,
    /// Give the unit the new image, and what comes along with it, at its next start.
    Promote { step: &'a Step },
    /// Give the unit, which was not restarted, the old images at its next start.
    Withdraw { step: &'a Step },
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
    /// Stop the unit, for an operator.
    Halt { step: &'a Step },
    /// Move the tag, where it moves.
    Commit,
    /// Drop the bindings that say what the tag says.
    Release,
}

/// The actions that are due, side by side: each with the step that it is for, or for all.
pub fn due<'a>(rollout: &'a Rollout, progress: &Progress) -> Vec<(Option<usize>, Action<'a>)> {
    match progress.state {
        State::Staging => vec![(None, Action::Stage)],
        State::Committing => vec![(None, Action::Commit)],
        State::Releasing => vec![(None, Action::Release)],
        State::Ended => vec![],
        State::Forward | State::Back => {
            let steps = rollout.steps.iter().zip(&progress.marks).enumerate();
            let due = steps.filter_map(|(at, (step, mark))| {
                let action = due_for(rollout, progress.state, step, mark)?;
                let waits = match action {
                    Action::TryRestart { .. } => waits_forward(rollout, progress, at),
                    Action::Restart { .. } => waits_back(rollout, progress, at),
                    _ => false,
                };
                (!waits).then_some((Some(at), action))
            });
            due.collect()
        }
    }
}

fn due_for<'a>(
    rollout: &'a Rollout,
    state: State,
    step: &'a Step,
    mark: &Mark,
) -> Option<Action<'a>> {
    match (state, mark) {
        (State::Forward | State::Back, Mark::Halting { .. }) => Some(Action::Halt { step }),
        (State::Back, Mark::Moving { .. }) if !step.forward_only => None,
        (State::Forward | State::Back, Mark::Moving { phase }) => Some(match phase {
            Phase::Binding => Action::Promote { step },
            Phase::Restarting => Action::TryRestart { step },
            Phase::Verifying => Action::Verify { step, image: rollout.aim(step).new },
            Phase::Reviving => Action::Revive { step },
        }),
        (State::Forward | State::Back, Mark::Withdrawing) => Some(Action::Withdraw { step }),
        (State::Back, Mark::Returning { phase, .. }) => Some(match phase {
            Phase::Binding => Action::PutBack { step },
            Phase::Restarting => Action::Restart { step },
            Phase::Verifying => Action::Verify { step, image: &step.old },
            Phase::Reviving => Action::Revive { step },
        }),
        _ => None,
    }
}

/// The steps that may begin now, forward or back.
pub fn ready(rollout: &Rollout, progress: &Progress) -> Vec<usize> {
    let all = 0..rollout.steps.len().min(progress.marks.len());
    match progress.state {
        State::Forward if progress.cause.is_none() => {
            let mut ready: Vec<usize> =
                all.filter(|at| may_go_forward(rollout, progress, *at)).collect();
            // Until units have verified it, the image has one only, or one crew.
            let all = 0..progress.marks.len();
            if !all.clone().any(|at| has_verified(rollout, progress, at)) {
                let begun = |at: &usize| is_begun(progress.marks.get(*at));
                let first = all.clone().find(begun).or(ready.first().copied());
                let canary: Vec<usize> =
                    first.into_iter().flat_map(|at| crew(rollout, at)).collect();
                ready.retain(|at| canary.contains(at));
            }
            ready
        }
        State::Back => all.filter(|at| may_go_back(rollout, progress, *at)).collect(),
        _ => vec![],
    }
}

/// Whether a unit that begins now is up, and waits for a place among those that are restarted. One
/// that may be down does not wait, and those that go together have one place.
pub fn waits_for_place(rollout: &Rollout, progress: &Progress, at: usize) -> bool {
    leads(rollout, at) && !progress.marks.get(at).is_some_and(is_moving)
}

/// Whether the step has its place: until its restart has ended.
pub fn has_place(mark: &Mark) -> bool {
    let (Mark::Moving { phase } | Mark::Returning { phase, .. }) = mark else { return false };
    matches!(phase, Phase::Binding | Phase::Restarting)
}

fn is_moving(mark: &Mark) -> bool {
    matches!(mark, Mark::Moving { .. })
}

/// Whether the unit was given the new image, and it is not known yet what came of it.
fn is_begun(mark: Option<&Mark>) -> bool {
    mark.is_some_and(|mark| is_moving(mark) || *mark == Mark::Updated)
}

fn may_go_forward(rollout: &Rollout, Progress { marks, .. }: &Progress, at: usize) -> bool {
    let untouched = |at: usize| marks.get(at) == Some(&Mark::Untouched);
    if !untouched(at) {
        return false;
    }
    let open = |other: &usize| {
        let mark = marks.get(*other);
        mark.is_some_and(|mark| *mark == Mark::Untouched || is_moving(mark))
    };
    let waits = |place: usize| {
        let after = rollout.steps.get(place).map(|step| &step.after);
        after.is_some_and(|after| after.iter().any(open))
    };
    // The first of those that go together has their place.
    let led = leads(rollout, at) || !crew(rollout, at).next().is_some_and(untouched);
    led && !crew(rollout, at).any(waits)
}

/// All that was moved goes back, those that come after a unit before it: one tag, one truth.
fn may_go_back(rollout: &Rollout, Progress { marks, .. }: &Progress, at: usize) -> bool {
    let is_to_go = |step: &Step, mark: &Mark| {
        (*mark == Mark::Updated || is_moving(mark)) && !step.forward_only
    };
    let is_on_its_way = |mark: &Mark| matches!(mark, Mark::Returning { .. });
    let Some((own, mark)) = rollout.steps.get(at).zip(marks.get(at)) else { return false };
    if !is_to_go(own, mark) {
        return false;
    }
    let others = || rollout.steps.iter().zip(marks).enumerate().filter(|(other, _)| *other != at);
    let waits_for_us = |step: &Step, mark| {
        let after_us = step.after.iter().filter_map(|place| rollout.steps.get(*place));
        !go_together(own, step)
            && after_us.into_iter().any(|before| go_together(own, before))
            && (is_to_go(step, mark) || is_on_its_way(mark))
    };
    // A tag can stand for one image at a time.
    let has_the_tag = |step: &Step, mark| {
        step.goal == own.goal
            && !rollout.aim(own).engine.has_bindings()
            && is_on_its_way(mark)
            && step.old != own.old
    };
    !others().any(|(_, (step, mark))| waits_for_us(step, mark) || has_the_tag(step, mark))
}
