//! `updaterctl rollback`

use std::fmt::Write as _;

use super::{Output, Style, count, json, problems, update};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::args;
use crate::ctl::exit;
use crate::update::{OutcomeKind, Report};

pub(super) async fn run<E: Embedded>(
    rollback: &args::Rollback,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    let report = access.roll_back(&rollback.units, rollback.to.as_deref()).await?;
    let code = exit::of_report(&report);
    if style.json { json(&report, code) } else { Ok(Output::new(text(&report, style), code)) }
}

pub(super) fn text(report: &Report, style: Style) -> String {
    let mut text = update::outcomes(report, style);
    problems(&mut text, &report.problems);
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let went = report.outcomes.iter().filter(|o| o.result == OutcomeKind::Reverted).count();
    let _ = writeln!(text, "{} reverted.", count(went, "unit"));
    if went > 0 {
        text.push_str(
            "What was left is quarantined; \"updaterctl quarantine clear DIGEST\" lets it come again.\n",
        );
    }
    text
}
