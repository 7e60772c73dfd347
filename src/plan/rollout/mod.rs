//! One rollout as a state machine: total over (state, event). Which actions are due in a state is in
//! [`due`], why it turns round in [`cause`].
//!
//! The first unit is the canary; when it has verified, the others go on side by side. The executor
//! persists [`Progress`] before it carries out what is due, so that whatever happens in between, the
//! same is due again at the next start.
//!
//! Architecture invariant: every action may be carried out twice.

pub mod cause;
pub mod crew;
pub mod due;
pub mod goal;
mod verdict;
mod written;

use serde::{Deserialize, Serialize};

use cause::Cause;
use due::{due, ready};
use goal::Goal;
pub use verdict::{condemned_by, destined, proves_image_bad, tagged};

use super::quarantine::Beside;
use crate::model::{EngineKind, Group, ImageIdentity, ImageSource, Policy, UnitName};

/// One image brought to all units of a reference, the first of which is the canary. Where units go
/// together (`group`), the images of several references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Further images, which go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Goal>,
    /// In the order in which they are restarted. Never empty.
    pub steps: Vec<Step>,
}

/// One unit of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The steps that must have ended before this one begins, by their places among all steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<usize>,
    /// Whether the unit's data migrates forward: it is never given its old image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward_only: bool,
    /// Which of the rollout's images it is for: 0 is the rollout's own, then those that go with it.
    #[serde(default, skip_serializing_if = "is_first")]
    pub goal: usize,
    /// The group that the unit goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// The images that the others of its group have then, or its own other containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Beside>,
    /// The steps that go together with this one and whose restart restarts this unit as well, by their
    /// places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried_by: Vec<usize>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_first(goal: &usize) -> bool {
    *goal == 0
}

impl Step {
    /// A unit that is to be restarted by itself.
    pub fn alone(unit: UnitName, containers: Vec<String>, old: ImageIdentity) -> Self {
        Self {
            unit,
            containers,
            old,
            along: vec![],
            led: false,
            after: vec![],
            forward_only: false,
            goal: 0,
            group: None,
            beside: vec![],
            carried_by: vec![],
        }
    }
}

/// Another image of a unit that is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Along {
    pub source: ImageSource,
    pub old: ImageIdentity,
    pub new: ImageIdentity,
}

/// Where a rollout stands: everything that must survive a power cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "written::Written")]
pub struct Progress {
    pub state: State,
    /// One for each step.
    pub marks: Vec<Mark>,
    /// Why the rollout goes back, where it does.
    pub cause: Option<Cause>,
    /// The step that this cause comes from; `None` where it comes from no unit.
    pub failed: Option<usize>,
}

/// What the rollout does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    Staging,
    Forward,
    Committing,
    Back,
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

/// How it stands with one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mark")]
pub enum Mark {
    Untouched,
    /// On its way to the new image. Where the rollout goes back, so far did it come.
    Moving {
        phase: Phase,
    },
    /// Runs the new image, verified.
    Updated,
    /// Runs to its end by itself, and gets the new image at its next start.
    Deferred,
    /// It was stopped meanwhile: never started for the update's sake.
    Stopped,
    /// Nothing could be begun: it is as it was.
    Unbegun,
    /// It was given the new image and not restarted for it: that is taken back.
    Withdrawing,
    /// On its way back to the old image.
    Returning {
        phase: Phase,
        /// Why it does not run with it as it did, where those that stop with it are still to be seen to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<Cause>,
    },
    /// Runs the old image again, verified.
    PutBack,
    /// The update failed and rollback is switched off, or the image could not be staged.
    Failed {
        /// Its own, where others may have another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// The way back failed as well: an operator is needed.
    Stuck {
        cause: Cause,
    },
    /// It failed and is not given its old image: it is to be stopped.
    Halting {
        cause: Cause,
    },
    /// It is stopped, and an operator is needed.
    Halted {
        cause: Cause,
        /// Why it could not be stopped, where it could not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<Cause>,
    },
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Succeeded,
    /// The unit was stopped, and not by us.
    FoundStopped,
    /// The unit is at work that a restart would cut off, and ends by itself.
    FoundTransient,
    /// The unit has the new image already, by a start that was not ours.
    FoundMoved,
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

/// The progress after `event` came of what is done once for all units. Total: an event that cannot
/// happen in a state changes nothing that a person or a unit would notice.
pub fn next(rollout: &Rollout, mut progress: Progress, event: Event) -> Progress {
    progress.state = match (progress.state, event) {
        (State::Staging, Event::Succeeded) => State::Forward,
        (State::Staging, Event::Failed(why)) => {
            progress.marks.fill(Mark::Failed { cause: None });
            progress.cause = Some(why);
            State::Ended
        }
        (State::Staging, Event::NotBegun(why)) => {
            progress.cause = Some(why);
            State::Ended
        }
        // Units run what is to be committed: the commit is tried until it succeeds.
        (State::Committing, Event::Failed(_) | Event::NotBegun(_)) => State::Committing,
        (State::Committing, _) => State::Releasing,
        (State::Releasing, Event::Failed(_) | Event::NotBegun(_)) => State::Releasing,
        (State::Releasing | State::Ended, _) => State::Ended,
        (state @ (State::Staging | State::Forward | State::Back), _) => state,
    };
    onward(rollout, progress)
}

/// The progress after the unit of the step `at` was begun with, forward or back; the same where its
/// turn has not come.
pub fn begin(rollout: &Rollout, mut progress: Progress, at: usize) -> Progress {
    if !ready(rollout, &progress).contains(&at) {
        return progress;
    }
    let phase = Phase::Binding;
    let mark = match progress.state {
        State::Back => Mark::Returning { phase, trouble: None },
        _ => Mark::Moving { phase },
    };
    progress.set(at, mark);
    progress
}

/// The progress after `event` came of what was due for the step `at`; `rollback` says whether its
/// failure goes back. Total, as [`next`] is.
pub fn advance(
    rollout: &Rollout,
    mut progress: Progress,
    at: usize,
    event: Event,
    rollback: bool,
) -> Progress {
    let before = progress.clone();
    let forward_only = rollout.steps.get(at).is_some_and(|step| step.forward_only);
    match (progress.state, progress.marks.get(at).cloned()) {
        (State::Forward | State::Back, Some(Mark::Moving { phase })) if forward_only => {
            progress.go_on(at, phase, event);
        }
        (State::Forward | State::Back, Some(Mark::Halting { cause })) => {
            let trouble = match event {
                Event::Failed(why) | Event::NotBegun(why) => Some(why),
                _ => None,
            };
            progress.set(at, Mark::Halted { cause, trouble });
        }
        (state @ (State::Forward | State::Back), Some(Mark::Withdrawing))
            if event == Event::FoundMoved && (forward_only || state == State::Forward) =>
        {
            progress.set(at, Mark::Moving { phase: Phase::Verifying });
        }
        (State::Forward, Some(Mark::Moving { phase })) => {
            progress.go_forward(at, phase, event, rollback);
        }
        (State::Forward | State::Back, Some(Mark::Withdrawing)) => progress.withdraw(at, event),
        (State::Back, Some(Mark::Returning { phase, trouble })) => {
            progress.go_back(at, phase, trouble, event);
        }
        _ => {}
    }
    crew::withdraw(rollout, &before, &mut progress);
    onward(rollout, progress)
}

impl Progress {
    fn set(&mut self, at: usize, mark: Mark) {
        if let Some(slot) = self.marks.get_mut(at) {
            *slot = mark;
        }
    }

    fn go_forward(&mut self, at: usize, phase: Phase, event: Event, rollback: bool) {
        match event {
            Event::Succeeded => {
                let next = following(phase).map(|phase| Mark::Moving { phase });
                self.set(at, next.unwrap_or(Mark::Updated));
            }
            Event::FoundStopped => self.set(at, Mark::Stopped),
            Event::FoundTransient => self.set(at, Mark::Deferred),
            Event::FoundMoved => {}
            Event::NotBegun(why) => {
                self.set(at, Mark::Unbegun);
                self.fail(at, why, rollback);
            }
            Event::Failed(why) if rollback => {
                self.set(at, Mark::Returning { phase: Phase::Binding, trouble: None });
                self.fail(at, why, rollback);
            }
            Event::Failed(why) => {
                self.set(at, Mark::Failed { cause: Some(why.clone()) });
                self.fail(at, why, rollback);
            }
        }
    }

    /// A unit that does not go back, whatever the others do. It is stopped where its new image does it
    /// harm: not for what others did to it or to this host, and not while it still starts.
    fn go_on(&mut self, at: usize, phase: Phase, event: Event) {
        let lives =
            |cause: &Cause| matches!(cause, Cause::Dependent { .. } | Cause::SlowStart { .. });
        match event {
            Event::Failed(cause) if cause.blames_image() && !lives(&cause) => {
                self.set(at, Mark::Halting { cause: cause.clone() });
                self.fail(at, cause, false);
            }
            event => self.go_forward(at, phase, event, false),
        }
    }

    /// Without rollback nothing further is begun, and what is under way goes on.
    fn fail(&mut self, at: usize, why: Cause, rollback: bool) {
        if rollback || self.cause.is_none() {
            (self.cause, self.failed) = (Some(why), Some(at));
        }
        if !rollback {
            return;
        }
        self.state = State::Back;
        let given = |mark: &&mut Mark| {
            matches!(mark, Mark::Deferred | Mark::Moving { phase: Phase::Binding })
        };
        self.marks.iter_mut().filter(given).for_each(|mark| *mark = Mark::Withdrawing);
    }

    fn withdraw(&mut self, at: usize, event: Event) {
        let mark = match event {
            Event::Succeeded | Event::FoundStopped | Event::FoundTransient => Mark::Untouched,
            Event::FoundMoved => Mark::Returning { phase: Phase::Restarting, trouble: None },
            Event::Failed(cause) | Event::NotBegun(cause) => Mark::Stuck { cause },
        };
        self.set(at, mark);
    }

    fn go_back(&mut self, at: usize, phase: Phase, trouble: Option<Cause>, event: Event) {
        let stuck = |cause| Mark::Stuck { cause };
        let mark = match event {
            Event::Succeeded => match following(phase) {
                Some(phase) => Mark::Returning { phase, trouble },
                None => trouble.map_or(Mark::PutBack, stuck),
            },
            // It may run all the same, and those that stop with it with it.
            Event::Failed(why) | Event::NotBegun(why) if phase == Phase::Verifying => {
                Mark::Returning { phase: Phase::Reviving, trouble: Some(why) }
            }
            Event::Failed(why) | Event::NotBegun(why) => stuck(trouble.unwrap_or(why)),
            Event::FoundStopped | Event::FoundTransient => Mark::Stopped,
            Event::FoundMoved => Mark::Returning { phase, trouble },
        };
        self.set(at, mark);
    }
}

fn following(phase: Phase) -> Option<Phase> {
    match phase {
        Phase::Binding => Some(Phase::Restarting),
        Phase::Restarting => Some(Phase::Verifying),
        Phase::Verifying => Some(Phase::Reviving),
        Phase::Reviving => None,
    }
}

/// What comes when all units have ended: nothing is committed that no unit verified.
fn onward(rollout: &Rollout, mut progress: Progress) -> Progress {
    let over = due(rollout, &progress).is_empty() && ready(rollout, &progress).is_empty();
    let moved = |mark: &Mark| matches!(mark, Mark::Updated | Mark::Deferred);
    progress.state = match progress.state {
        State::Forward if over => match progress.cause {
            None if progress.marks.iter().any(moved) => State::Committing,
            _ => State::Releasing,
        },
        State::Back if over => State::Releasing,
        state => state,
    };
    progress
}

#[cfg(test)]
mod tests;
