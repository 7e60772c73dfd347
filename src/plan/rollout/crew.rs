//! Steps that go together: those of one group, and those of one unit. None is restarted before all of
//! them are bound; they are restarted as one; what follows waits until all have verified; and where one
//! goes back, none is restarted before all have their old images.
//!
//! Most steps go alone, and are all of their crew.

use super::{Mark, Phase, Progress, Rollout, State, Step};

/// Whether two steps of one rollout go together.
pub fn go_together(one: &Step, other: &Step) -> bool {
    one.unit == other.unit || (one.group.is_some() && one.group == other.group)
}

/// The places of the steps that go together with the one at `at`, itself included.
pub fn crew(rollout: &Rollout, at: usize) -> impl Iterator<Item = usize> {
    let own = rollout.steps.get(at);
    let steps = rollout.steps.iter().enumerate();
    steps
        .filter(move |(_, step)| own.is_some_and(|own| go_together(own, step)))
        .map(|(place, _)| place)
}

/// Whether the step is the first of its crew: it takes a place for all of them, and begins first.
pub fn leads(rollout: &Rollout, at: usize) -> bool {
    crew(rollout, at).next() == Some(at)
}

fn marks<'a>(
    rollout: &'a Rollout,
    progress: &'a Progress,
    at: usize,
) -> impl Iterator<Item = &'a Mark> {
    crew(rollout, at).filter_map(|place| progress.marks.get(place))
}

/// Whether none of the crew may have been restarted yet: one of them has not been bound.
fn is_gathering(rollout: &Rollout, progress: &Progress, at: usize) -> bool {
    let unbound =
        |mark: &Mark| matches!(mark, Mark::Untouched | Mark::Moving { phase: Phase::Binding });
    marks(rollout, progress, at).any(unbound)
}

/// Whether all of the crew have ended with the new images, one of them verified at least.
pub(super) fn has_verified(rollout: &Rollout, progress: &Progress, at: usize) -> bool {
    let open = |mark: &Mark| matches!(mark, Mark::Untouched | Mark::Moving { .. });
    progress.marks.get(at) == Some(&Mark::Updated) && !marks(rollout, progress, at).any(open)
}

/// Whether the step, whose restart to the new image is next, waits: for one of its crew that is not
/// bound, or for one whose restart restarts it as well.
pub(super) fn waits_forward(rollout: &Rollout, progress: &Progress, at: usize) -> bool {
    let restarts = |mark: &Mark| matches!(mark, Mark::Moving { phase: Phase::Restarting });
    is_gathering(rollout, progress, at) || is_carried(rollout, progress, at, restarts)
}

/// The same on the way back.
pub(super) fn waits_back(rollout: &Rollout, progress: &Progress, at: usize) -> bool {
    let restarts = |mark: &Mark| matches!(mark, Mark::Returning { phase: Phase::Restarting, .. });
    let Some(own) = rollout.steps.get(at) else { return false };
    let bound_later = |place: usize| {
        let (Some(step), Some(mark)) = (rollout.steps.get(place), progress.marks.get(place)) else {
            return false;
        };
        // A tag stands for one image at a time: these go back one after the other.
        let other_image = step.goal == own.goal && step.old != own.old;
        let after_us = other_image && !rollout.aim(step).engine.has_bindings();
        !after_us && is_to_be_put_back(step, mark)
    };
    crew(rollout, at).any(bound_later) || is_carried(rollout, progress, at, restarts)
}

fn is_to_be_put_back(step: &Step, mark: &Mark) -> bool {
    match mark {
        Mark::Updated | Mark::Moving { .. } => !step.forward_only,
        Mark::Withdrawing | Mark::Returning { phase: Phase::Binding, .. } => true,
        _ => false,
    }
}

fn is_carried(
    rollout: &Rollout,
    progress: &Progress,
    at: usize,
    restarts: impl Fn(&Mark) -> bool,
) -> bool {
    let carriers = rollout.steps.get(at).map(|step| &step.carried_by).into_iter().flatten();
    carriers.filter_map(|place| progress.marks.get(*place)).any(restarts)
}

/// Takes back what was given to those that wait for one of their crew that will not be bound: they were
/// not restarted.
pub(super) fn withdraw(rollout: &Rollout, before: &Progress, now: &mut Progress) {
    if before.state != State::Forward {
        return;
    }
    let waits = |at: &usize| {
        let given = |phase: &Phase| matches!(phase, Phase::Binding | Phase::Restarting);
        let moving = |mark: &Mark| matches!(mark, Mark::Moving { phase } if given(phase));
        now.marks.get(*at).is_some_and(moving) && is_gathering(rollout, before, *at)
    };
    let comes_to_nothing = |at: usize| {
        let goes_back = now.state == State::Back;
        goes_back
            || crew(rollout, at).any(|place| match now.marks.get(place) {
                Some(Mark::Unbegun | Mark::Failed { .. }) => true,
                Some(Mark::Untouched) => now.cause.is_some(),
                _ => false,
            })
    };
    let waiting = (0..now.marks.len()).filter(waits).filter(|at| comes_to_nothing(*at));
    for at in waiting.collect::<Vec<_>>() {
        if let Some(mark) = now.marks.get_mut(at) {
            *mark = Mark::Withdrawing;
        }
    }
}
