//! `updaterctl update`

use std::fmt::Write as _;

use super::{Output, Style, count, json, problems, took};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::args;
use crate::ctl::exit;
use crate::plan::Reason;
use crate::plan::decide::Skipped;
use crate::terminal::Tone;
use crate::terminal::table::{Cell, Column, render};
use crate::update::{Outcome, OutcomeKind, Report};

const COLUMNS: [Column; 6] = [
    Column::flexible("UNIT", 12),
    Column::flexible_start("IMAGE", 16),
    Column::fixed("FROM"),
    Column::fixed("TO"),
    Column::fixed("RESULT"),
    Column::fixed("TOOK"),
];

pub(super) async fn run<E: Embedded>(
    update: &args::Update,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    let report = access.update(&update.units, update.trigger.into()).await?;
    let code = exit::of_report(&report);
    if style.json { json(&report, code) } else { Ok(Output::new(text(&report, style), code)) }
}

pub(super) fn text(report: &Report, style: Style) -> String {
    let mut text = outcomes(report, style);
    let held = |reason: &Reason| {
        matches!(
            reason,
            Reason::Quarantined { .. }
                | Reason::PutOff { .. }
                | Reason::Gated { .. }
                | Reason::BudgetSpent { .. }
                | Reason::FailedTogether { .. }
                | Reason::GroupWaits { .. }
                | Reason::WaitsForUnit { .. }
        )
    };
    let told = |skipped: &&Skipped| skipped.reason.is_error() || held(&skipped.reason);
    for skipped in report.skipped.iter().filter(told) {
        let who = skipped.unit.as_ref().map_or(&*skipped.container, |unit| unit.as_str());
        let _ = writeln!(text, "{who}: {}", skipped.reason);
    }
    problems(&mut text, &report.problems);
    warnings(&mut text, report);
    let updated =
        report.outcomes.iter().filter(|outcome| outcome.result == OutcomeKind::Updated).count();
    let current =
        report.skipped.iter().filter(|skipped| skipped.reason == Reason::UpToDate).count();
    let _ = writeln!(text, "{} updated, {current} up to date.", count(updated, "unit"));
    text
}

/// What became of each unit, and why.
pub(super) fn outcomes(report: &Report, style: Style) -> String {
    let mut text = String::new();
    if !report.outcomes.is_empty() {
        let rows: Vec<_> = report.outcomes.iter().map(row).collect();
        text.push_str(&render(&COLUMNS, &rows, style.terminal));
        text.push('\n');
    }
    for outcome in report.outcomes.iter().filter(|outcome| !outcome.detail.is_empty()) {
        let _ = writeln!(text, "{}: {}", outcome.unit, outcome.detail);
    }
    text
}

/// What an operator should know, and nothing is wrong with.
pub(super) fn warnings(text: &mut String, report: &Report) {
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
}

/// How a result looks.
pub(super) fn tone(result: OutcomeKind) -> Tone {
    match result {
        OutcomeKind::Updated | OutcomeKind::Reverted => Tone::Good,
        OutcomeKind::RolledBack | OutcomeKind::Failed | OutcomeKind::NeedsOperator => Tone::Bad,
        OutcomeKind::Stopped
        | OutcomeKind::Deferred
        | OutcomeKind::NotReached
        | OutcomeKind::Suspended => Tone::Notice,
    }
}

fn row(outcome: &Outcome) -> Vec<Cell> {
    vec![
        Cell::new(outcome.unit.as_str()),
        Cell::new(outcome.reference.to_string()),
        Cell::new(outcome.old.short()),
        Cell::new(outcome.new.short()),
        Cell::new(outcome.result.to_string()).tone(tone(outcome.result)),
        Cell::new(took(outcome.elapsed_ms)),
    ]
}
