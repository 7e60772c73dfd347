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
    update::warnings(&mut text, report);
    let ended = |kind| report.outcomes.iter().filter(|outcome| outcome.result == kind).count();
    let (went, later) = (ended(OutcomeKind::Reverted), ended(OutcomeKind::Deferred));
    // What does not run gets the image when it is started: it has gone back all the same.
    let then = if later > 0 { format!(", {later} at the next start") } else { String::new() };
    let _ = writeln!(text, "{} reverted{then}.", count(went, "unit"));
    if went + later > 0 {
        text.push_str(
            "What was left is quarantined; \"updaterctl quarantine clear DIGEST\" lets it come again.\n",
        );
    }
    text
}
