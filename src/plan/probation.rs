//! Units that do not stay active, such as jobs: what they were given is verified by how their next
//! run ends. Until then it is on probation, and what was verified last stands by
//! ([decision 27](../../docs/decisions/0027-verdicts.md)).
//!
//! Pure: [`next`] is a total function of what was seen, [`due`] says what is to be done in a state. A
//! verdict is written down before anything is done about it, and stands whatever is seen afterwards.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::quarantine::Beside;
use super::rollout::cause::Cause;
use crate::model::{Container, EngineKind, ImageIdentity, ImageSource, Reference, UnitName};

/// A run that has been up for so long stays active after all: a service that a timer starts at boot.
const STAYS: Duration = Duration::from_secs(24 * 60 * 60);

/// What one unit was given for one reference, and nobody has verified yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probation {
    pub unit: UnitName,
    pub engine: EngineKind,
    pub source: ImageSource,
    /// What was verified last.
    pub old: ImageIdentity,
    /// What is on probation.
    pub new: ImageIdentity,
    /// Whether the tag moves when it is verified.
    pub moves_tag: bool,
    /// Whether other images of the unit came with it: then none of them is proven bad alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_company: bool,
    /// What the others of its group ran when it was given it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Beside>,
    /// Whether the unit goes back where its run fails.
    pub rollback: bool,
    /// Whether it never does, for its data is the new image's then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward_only: bool,
    /// When the unit was given it.
    pub since: Timestamp,
    /// The unit's run at that time, which had the old image.
    pub after: String,
    /// Who asked for the update, and in which pass.
    pub trigger: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Timestamp>,
    pub state: State,
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// No run has ended yet, or none that proves anything.
    Waiting {
        /// The run that is under way, and when it was seen first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<(String, Timestamp)>,
    },
    /// It is known how it ends.
    Ending {
        verdict: Verdict,
        /// The run that told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<String>,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    Good,
    /// The run failed, by the image's doing or not.
    Failed {
        cause: Cause,
    },
    /// The unit is not there any more.
    Gone,
    /// Somebody gave the unit another image meanwhile.
    Replaced,
}

/// What was seen of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Its runs since it was given the image, oldest first.
    Runs(Vec<Run>),
    UnitGone,
    /// Its next start would not get what is on probation.
    OtherImage,
}

/// One run of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub invocation: String,
    /// `None` while it is at work.
    pub end: Option<End>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Well,
    /// Somebody stopped it, or it was not even begun: that proves nothing.
    Unproven,
    Failed(Cause),
}

/// What is to be done at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The tag moves, where it moves.
    Commit,
    /// The unit gets again what was verified last.
    GiveBack,
    /// The unit keeps what it has.
    Leave,
}

impl Probation {
    pub fn reference(&self) -> &Reference {
        &self.source.reference
    }

    /// Whether it is about this unit's containers of `reference`.
    pub fn is_of(&self, engine: EngineKind, unit: &UnitName, reference: &Reference) -> bool {
        self.engine == engine && &self.unit == unit && self.reference() == reference
    }

    /// Whether `container` runs what is on probation, which `image` is in its engine's words.
    pub fn runs_it(&self, container: &Container, image: &ImageIdentity) -> bool {
        container.runs(&self.new.manifest) && container.runs(&image.manifest)
    }
}

/// The state after this was `seen` at `now`. Total.
pub fn next(probation: &Probation, seen: &Seen, now: Timestamp) -> State {
    let State::Waiting { run: known } = &probation.state else { return probation.state.clone() };
    let ending = |verdict, run: Option<&Run>| State::Ending {
        verdict,
        run: run.map(|run| run.invocation.clone()),
    };
    let runs = match seen {
        Seen::UnitGone => return ending(Verdict::Gone, None),
        Seen::OtherImage => return ending(Verdict::Replaced, None),
        Seen::Runs(runs) => runs.iter().filter(|run| run.invocation != probation.after),
    };
    let mut at_work = None;
    for run in runs {
        match &run.end {
            Some(End::Well) => return ending(Verdict::Good, Some(run)),
            Some(End::Failed(cause)) => {
                return ending(Verdict::Failed { cause: cause.clone() }, Some(run));
            }
            Some(End::Unproven) => {}
            None => at_work = Some(run),
        }
    }
    let Some(run) = at_work else { return State::Waiting { run: None } };
    let known = known.as_ref().filter(|(invocation, _)| invocation == &run.invocation);
    let since = known.map_or(now, |(_, since)| *since);
    let stays = SignedDuration::try_from(STAYS).unwrap_or(SignedDuration::MAX);
    if now.duration_since(since) >= stays {
        return ending(Verdict::Good, Some(run));
    }
    State::Waiting { run: Some((run.invocation.clone(), since)) }
}

/// What is to be done, where it is known how it ends. May be done twice.
pub fn due(probation: &Probation) -> Option<Action> {
    let State::Ending { verdict, .. } = &probation.state else { return None };
    Some(match verdict {
        Verdict::Good => Action::Commit,
        Verdict::Failed { .. } if probation.forward_only || !probation.rollback => Action::Leave,
        Verdict::Failed { .. } | Verdict::Gone => Action::GiveBack,
        Verdict::Replaced => Action::Leave,
    })
}

/// Why the image is not to be tried again, where it is proven bad: it failed the unit by its own
/// doing, and the unit went back, or never may.
pub fn condemned(probation: &Probation) -> Option<&Cause> {
    let State::Ending { verdict: Verdict::Failed { cause }, .. } = &probation.state else {
        return None;
    };
    let proof = (probation.rollback || probation.forward_only) && !probation.in_company;
    (cause.blames_image() && proof).then_some(cause)
}

/// The probation of a unit's containers of `reference`.
pub fn find<'a>(
    all: &'a [Probation],
    engine: EngineKind,
    unit: &UnitName,
    reference: &Reference,
) -> Option<&'a Probation> {
    all.iter().find(|one| one.is_of(engine, unit, reference))
}

#[cfg(test)]
#[path = "probation_tests.rs"]
mod tests;
