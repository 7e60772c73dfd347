//! `updaterctl why`

use std::fmt::Write as _;

use serde::Serialize;

use super::{Output, Style, age, json, problems};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded, Service};
use crate::ctl::exit;
use crate::daemon::api::{Checked, HistoryQuery, Standing, UnitStatus};
use crate::model::{Asker, Digest, Failure, Group, Reference, UnitName};
use crate::plan::decide::Skipped;
use crate::plan::{Gate, Reason, Sharer};
use crate::update::{Entry, OutcomeKind};

/// What an answer comes from.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) unit: &'a UnitName,
    pub(super) checked: &'a Checked,
    pub(super) units: &'a [UnitStatus],
    /// Newest first, of this unit.
    pub(super) history: &'a [Entry],
    /// When registries are asked next, in RFC 3339; empty where a timer decides or nobody says.
    pub(super) next_check: &'a str,
}

/// The answer, and all that it comes from.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    unit: &'a UnitName,
    /// In one line.
    answer: String,
    available: Vec<Newer<'a>>,
    skipped: Vec<&'a Skipped>,
    /// The unit's last update.
    last: Option<&'a Entry>,
    /// Who gets what the unit's tags stand for, unasked.
    warnings: Vec<&'a Sharer>,
    /// The unit's containers whose failed update could not be taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    asking: Vec<&'a Asker>,
    problems: &'a [Failure],
}

/// A newer image for the unit.
#[derive(Debug, Serialize)]
struct Newer<'a> {
    reference: &'a Reference,
    old: &'a Digest,
    new: &'a Digest,
    /// The group that the unit goes with.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a Group>,
    /// The units of its group that get an image with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    together: Vec<&'a UnitName>,
}

pub(super) async fn run<E: Embedded>(
    unit: &UnitName,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    let service = access.service().await?;
    let checked = access.check().await?;
    let units = access.units().await?;
    let last = HistoryQuery { units: vec![unit.clone()], limit: 1, ..HistoryQuery::default() };
    let history = access.history(&last).await?;
    let next_check = match &service {
        Service::Running(properties) => properties.next_check.as_str(),
        Service::NotRunning | Service::NoBus => "",
    };
    let question =
        Question { unit, checked: &checked, units: &units, history: &history, next_check };
    let answer = answer(&question, style);
    let code = answer.code(&question);
    if style.json { json(&answer, code) } else { Ok(Output::new(text(&answer), code)) }
}

pub(super) fn text(answer: &Answer<'_>) -> String {
    let mut text = format!("{}\n", answer.answer);
    for warning in &answer.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for asker in &answer.asking {
        let _ = writeln!(text, "warning: {asker}");
    }
    problems(&mut text, answer.problems);
    text
}

pub(super) fn answer<'a>(question: &Question<'a>, style: Style) -> Answer<'a> {
    let Question { unit, checked, history, .. } = *question;
    let plan = &checked.plan;
    let own = plan.skipped.iter().filter(|skipped| skipped.unit.as_ref() == Some(unit));
    let skipped: Vec<&Skipped> = own.collect();
    let available: Vec<Newer<'a>> = plan
        .rollouts
        .iter()
        .flat_map(|rollout| rollout.steps.iter().map(move |step| (rollout, step)))
        .filter(|(_, step)| &step.unit == unit)
        .map(|(rollout, step)| Newer {
            reference: rollout.aim(step).reference(),
            old: &step.old.manifest,
            new: &rollout.aim(step).new.manifest,
            group: step.group.as_ref(),
            together: rollout.companions(step),
        })
        .collect();
    let uses = |reference: &Reference| {
        skipped.iter().any(|skipped| &skipped.reference == reference)
            || available.iter().any(|newer| newer.reference == reference)
    };
    let warnings = plan.warnings.iter().filter(|sharer| uses(&sharer.reference)).collect();
    let asking = plan.asking.iter().filter(|asker| &asker.unit == unit).collect();
    let last = history.first();
    let mut said = phrases(question, &skipped, &available);
    said.extend(last.map(|entry| ended(entry, &said, style)));
    let answer = format!("{unit}: {}", said.join("; "));
    Answer { unit, answer, available, skipped, last, warnings, asking, problems: &plan.problems }
}

impl Answer<'_> {
    /// As a check of this unit alone has it. A unit that nobody knows is most likely a slip of the
    /// finger.
    pub(super) fn code(&self, question: &Question<'_>) -> u8 {
        let lost = question.checked.not_running.iter().any(|lost| lost.is_of(self.unit));
        let failed = self.skipped.iter().any(|skipped| skipped.reason.is_error());
        let resting = question.checked.waiting.iter().any(|resting| resting.is_of(self.unit));
        let found = resting || !self.skipped.is_empty() || !self.available.is_empty();
        match (found, lost || failed) {
            (_, true) => exit::PARTLY,
            (true, false) => exit::DONE,
            (false, false) if !self.problems.is_empty() => exit::PARTLY,
            (false, false) if self.last.is_some() => exit::DONE,
            (false, false) => exit::FAILED,
        }
    }
}

impl UnitStatus {
    fn is_of(&self, unit: &UnitName) -> bool {
        self.unit.as_ref() == Some(unit)
    }
}

/// How it stands with each of the unit's images.
fn phrases(question: &Question<'_>, skipped: &[&Skipped], available: &[Newer<'_>]) -> Vec<String> {
    let Question { unit, checked, units, .. } = question;
    let own = || units.iter().filter(|status| status.is_of(unit));
    if let Some(updating) = own().find(|status| status.standing == Standing::Updating) {
        return vec![format!("an update is under way, {}", updating.detail)];
    }
    let mut said: Vec<String> = available.iter().map(|newer| newer.phrase(question)).collect();
    said.extend(skipped.iter().map(|skipped| phrase(unit, skipped)));
    let held = |gate: &&Gate| matches!(gate, Gate::Hold { .. });
    let waits = skipped.iter().any(|skipped| matches!(skipped.reason, Reason::Gated { .. }));
    let hold = own().flat_map(|status| &status.gates).find(held).filter(|_| !waits);
    said.extend(hold.map(ToString::to_string));
    let lost = checked.not_running.iter().filter(|lost| lost.is_of(unit));
    said.extend(lost.map(|lost| {
        let reference = super::status::reference(lost);
        format!("its last update left no container of {reference} running: {}", lost.detail)
    }));
    let resting = checked.waiting.iter().filter(|resting| resting.is_of(unit));
    said.extend(resting.map(|resting| {
        let reference = super::status::reference(resting);
        format!("{reference}: {}; nothing is started for it", super::status::state(resting).0)
    }));
    if said.is_empty() {
        said.push(
            "runs no container with the label io.containers.autoupdate: start it, or add the label \
             to its container"
                .to_owned(),
        );
    }
    said
}

impl Newer<'_> {
    fn phrase(&self, question: &Question<'_>) -> String {
        let Question { unit, next_check, .. } = question;
        let next = match *next_check {
            "" => String::new(),
            next => format!("the check at {next} brings it, "),
        };
        let together = match self.group.filter(|_| !self.together.is_empty()) {
            Some(group) => {
                let units: Vec<&str> = self.together.iter().map(|unit| unit.as_str()).collect();
                format!(" together with {} (group {group})", units.join(", "))
            }
            None => String::new(),
        };
        format!(
            "{} stands for {} now, and it runs {}: {next}\"updaterctl update {unit}\" does it \
             now{together}",
            self.reference,
            self.new.short(),
            self.old.short()
        )
    }
}

/// Why a container is left as it is, and what ends that.
fn phrase(unit: &UnitName, Skipped { reference, image, reason, .. }: &Skipped) -> String {
    let runs = image.manifest.short();
    match reason {
        Reason::UpToDate => format!("up to date, runs {runs} of {reference}"),
        Reason::Disabled => format!(
            "left alone on {runs} of {reference}: its label io.containers.autoupdate says \"disabled\""
        ),
        Reason::Pinned => {
            format!("{reference} names a digest, which never changes: name a tag to follow")
        }
        Reason::Quarantined { manifest, .. } => format!(
            "{reason}; stays on {runs} of {reference} until the tag stands for something else or \
             \"updaterctl quarantine clear {}\"",
            manifest.short()
        ),
        Reason::FailedTogether { manifest, .. } => format!(
            "{reason}; stays on {runs} of {reference} until one of them gets another image or \
             \"updaterctl quarantine clear {}\"",
            manifest.short()
        ),
        Reason::OnProbation { .. } => {
            format!("{reference}: {reason}; nothing is restarted for it")
        }
        Reason::Gated { gates, .. } => {
            format!("{reason}; stays on {runs} of {reference} meanwhile; {}", way_out(unit, gates))
        }
        Reason::PutOff { .. }
        | Reason::BudgetSpent { .. }
        | Reason::CheckFailed { .. }
        | Reason::CoolingDown { .. }
        | Reason::GroupWaits { .. }
        | Reason::WaitsForUnit { .. } => {
            format!("{reason}; stays on {runs} of {reference} meanwhile")
        }
        Reason::NotInStorage
        | Reason::InvalidPolicy { .. }
        | Reason::InvalidGroup { .. }
        | Reason::NoUnit { .. }
        | Reason::Guest { .. } => format!("{reference}: {reason} ({unit} stays on {runs})"),
    }
}

/// What a person can do about it.
fn way_out(unit: &UnitName, gates: &[Gate]) -> String {
    if gates.iter().any(|gate| matches!(gate, Gate::Hold { .. })) {
        return format!("\"updaterctl unhold {unit}\" ends the hold");
    }
    let approve = match gates.contains(&Gate::Approval) {
        true => format!("\"updaterctl approve {unit}\" approves it, "),
        false => String::new(),
    };
    format!("{approve}\"updaterctl update {unit}\" does it now")
}

/// How the last update ended, without a cause that was said already.
fn ended(entry: &Entry, said: &[String], style: Style) -> String {
    let outcome = &entry.outcome;
    let mut text =
        format!("its last update {} {}", verb(outcome.result), age(entry.ended, style.now));
    let told = said.iter().any(|said| said.contains(&outcome.detail));
    if !outcome.detail.is_empty() && !told {
        let _ = write!(text, " ({})", outcome.detail);
    }
    text
}

fn verb(result: OutcomeKind) -> &'static str {
    match result {
        OutcomeKind::Updated => "ended well",
        OutcomeKind::Reverted => "was taken back by hand",
        OutcomeKind::RolledBack => "was rolled back",
        OutcomeKind::Failed => "failed",
        OutcomeKind::NeedsOperator => "needed an operator",
        OutcomeKind::Stopped => "found it stopped",
        OutcomeKind::Deferred => "was left to its next start",
        OutcomeKind::NotReached => "did not reach it",
        OutcomeKind::Suspended => "was suspended",
    }
}
