//! `updaterctl check`

use std::fmt::Write as _;

use super::{Output, Style, count, json, problems};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::exit;
use crate::daemon::api::{Checked, UnitStatus};
use crate::plan::decide::Skipped;
use crate::plan::{Reason, Rollout, Step};
use crate::terminal::Tone;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 5] = [
    Column::flexible("UNIT", 12),
    Column::flexible_start("IMAGE", 16),
    Column::fixed("RUNNING"),
    Column::fixed("AVAILABLE"),
    Column::flexible("STATE", 16),
];

pub(super) async fn run<E: Embedded>(access: &Access<E>, style: Style) -> Result<Output, Error> {
    let checked = access.check().await?;
    let code = exit::of_check(&checked);
    match style.json {
        true => json(&checked, code),
        false => Ok(Output::new(table(&checked, style), code)),
    }
}

pub(super) fn table(checked: &Checked, style: Style) -> String {
    let Checked { plan, not_running, waiting } = checked;
    let mut rows = Vec::new();
    for rollout in &plan.rollouts {
        for step in &rollout.steps {
            rows.push(vec![
                Cell::new(step.unit.as_str()),
                Cell::new(rollout.aim(step).reference().to_string()),
                Cell::new(step.old.manifest.short()),
                Cell::new(rollout.aim(step).new.manifest.short()),
                Cell::new(available(rollout, step)).tone(Tone::Notice),
            ]);
        }
    }
    let updates = rows.len();
    rows.extend(plan.skipped.iter().map(skipped));
    rows.extend(not_running.iter().chain(waiting).map(at_rest));
    if rows.is_empty() {
        let mut text = String::from("No running container ");
        text.push_str(match plan.problems.is_empty() {
            true => "has the label io.containers.autoupdate: nothing to keep up to date.\n",
            false => "that can be read has the label io.containers.autoupdate.\n",
        });
        problems(&mut text, &plan.problems);
        return text;
    }
    let mut text = render(&COLUMNS, &rows, style.terminal);
    let failed = plan.skipped.iter().filter(|skipped| skipped.reason.is_error()).count();
    let current = plan.skipped.iter().filter(|skipped| skipped.reason == Reason::UpToDate).count();
    let _ = write!(text, "\n{} available, {current} up to date", count(updates, "update"));
    if failed > 0 {
        let _ = write!(text, ", {failed} could not be checked");
    }
    if !not_running.is_empty() {
        let _ = write!(text, ", {} not running", not_running.len());
    }
    text.push_str(".\n");
    if updates > 0 {
        text.push_str("\"updaterctl update\" does it now.\n");
    }
    problems(&mut text, &plan.problems);
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for asker in &plan.asking {
        let _ = writeln!(text, "warning: {asker}");
    }
    text
}

fn available(rollout: &Rollout, step: &Step) -> String {
    match step.group.as_ref().filter(|_| !rollout.companions(step).is_empty()) {
        Some(group) => format!("update available, with its group {group}"),
        None => "update available".to_owned(),
    }
}

/// The row of a unit that runs nothing: after its last update, or until its next run.
fn at_rest(status: &UnitStatus) -> Vec<Cell> {
    let (state, tone) = super::status::state(status);
    vec![
        Cell::new(super::status::unit(status)),
        Cell::new(super::status::reference(status)),
        Cell::new(""),
        Cell::new(""),
        Cell::new(state).tone(tone),
    ]
}

/// The row of a container that is left as it is.
pub(super) fn skipped(skipped: &Skipped) -> Vec<Cell> {
    let tone = match &skipped.reason {
        Reason::UpToDate => Tone::Good,
        Reason::Disabled | Reason::Pinned => Tone::Faint,
        reason if reason.is_error() => Tone::Bad,
        _ => Tone::Notice,
    };
    let available = match &skipped.reason {
        Reason::Quarantined { manifest, .. }
        | Reason::PutOff { manifest, .. }
        | Reason::Gated { manifest, .. }
        | Reason::OnProbation { manifest, .. } => manifest.short(),
        _ => String::new(),
    };
    let unit = match &skipped.unit {
        Some(unit) => unit.to_string(),
        None => format!("({})", skipped.container),
    };
    vec![
        Cell::new(unit),
        Cell::new(skipped.reference.to_string()),
        Cell::new(skipped.image.manifest.short()),
        Cell::new(available),
        Cell::new(skipped.reason.to_string()).tone(tone),
    ]
}
