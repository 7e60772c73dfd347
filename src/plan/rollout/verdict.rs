//! What the end of a rollout says: what units and tags shall have, and which image is proven bad.

use super::{Cause, Mark, Progress, Rollout, Step};
use crate::model::ImageIdentity;

/// The image that a unit shall have at the end, whatever the tag says.
pub fn destined<'a>(rollout: &'a Rollout, step: &'a Step, mark: &Mark) -> &'a ImageIdentity {
    match mark {
        Mark::Updated
        | Mark::Deferred
        | Mark::Failed { .. }
        | Mark::Halting { .. }
        | Mark::Halted { .. } => rollout.aim(step).new,
        Mark::Untouched
        | Mark::Moving { .. }
        | Mark::Unbegun
        | Mark::Stopped
        | Mark::Withdrawing
        | Mark::Returning { .. }
        | Mark::PutBack
        | Mark::Stuck { .. } => &step.old,
    }
}

/// The image that the tag of one of the rollout's images, which steps call `goal`, shall stand for at
/// the end, where units have no bindings; `None` where it was not touched. What one unit verified, all
/// get: a unit that failed and was left so has no say where others went back.
pub fn tagged<'a>(rollout: &'a Rollout, goal: usize, marks: &[Mark]) -> Option<&'a ImageIdentity> {
    let own = || rollout.steps.iter().zip(marks).filter(|(step, _)| step.goal == goal);
    let back =
        |mark: &Mark| matches!(mark, Mark::Returning { .. } | Mark::PutBack | Mark::Stuck { .. });
    let went_back = own().any(|(_, mark)| back(mark));
    let moved = |mark: &Mark| match mark {
        Mark::Updated | Mark::Deferred | Mark::Halted { .. } => true,
        Mark::Failed { .. } => !went_back,
        _ => false,
    };
    if own().any(|(_, mark)| moved(mark)) {
        return rollout.aims().nth(goal).map(|aim| aim.new);
    }
    let touched =
        |mark: &Mark| !matches!(mark, Mark::Untouched | Mark::Unbegun | Mark::Failed { .. });
    let back = own().find(|(_, mark)| touched(mark));
    back.map(|(step, _)| &step.old)
}

/// The unit that proves its new image bad: alone, or beside those that it came with. Where other images
/// of the unit came along, none does: each is tried alone next.
pub fn condemned_by<'a>(rollout: &'a Rollout, progress: &Progress) -> Option<&'a Step> {
    let step = progress.failed.and_then(|at| rollout.steps.get(at))?;
    (proves_image_bad(progress) && step.along.is_empty()).then_some(step)
}

/// Whether the new image, or what came along with it, is proven bad: it failed a unit by its own
/// doing, and the old one, put back into that unit, verified. Where it cannot be put back, the next
/// unit is not stopped for the proof.
pub fn proves_image_bad(progress: &Progress) -> bool {
    let to_blame = progress.cause.as_ref().is_some_and(Cause::blames_image);
    let failed = progress.failed.and_then(|at| progress.marks.get(at));
    let condemned = matches!(failed, Some(Mark::PutBack | Mark::Halted { .. }));
    let stuck = progress.marks.iter().any(|mark| matches!(mark, Mark::Stuck { .. }));
    to_blame && condemned && !stuck
}
