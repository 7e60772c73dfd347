//! Exit codes: fixed, documented in `--help` and updaterctl(1).

use crate::daemon::api::{Checked, Error};
use crate::update::{OutcomeKind, Report};

pub const DONE: u8 = 0;
pub const FAILED: u8 = 1;
/// What clap exits with.
pub const USAGE: u8 = 2;
pub const PARTLY: u8 = 3;
pub const ROLLED_BACK: u8 = 4;
pub const NEEDS_OPERATOR: u8 = 5;
pub const BUSY: u8 = 6;
/// What `podman auto-update` exits with where anything failed.
pub const AS_PODMAN: u8 = 125;
/// As a shell has it for SIGINT.
pub const INTERRUPTED: u8 = 130;

/// The code of an operation that could not be done at all.
pub fn of_error(error: &Error) -> u8 {
    match error {
        Error::Busy(_) => BUSY,
        Error::InvalidArguments(_) => USAGE,
        Error::Failed(_) => FAILED,
    }
}

/// Available updates are no failure; what could not be checked is one.
pub fn of_check(checked: &Checked) -> u8 {
    let Checked { plan, not_running, .. } = checked;
    let failed = plan.skipped.iter().any(|skipped| skipped.reason.is_error());
    if failed || !plan.problems.is_empty() || !not_running.is_empty() { PARTLY } else { DONE }
}

/// The gravest thing that happened.
pub fn of_report(report: &Report) -> u8 {
    let failed = report.has(OutcomeKind::Failed)
        || report.has(OutcomeKind::Suspended)
        || report.has(OutcomeKind::NotReached)
        || report.skipped.iter().any(|skipped| skipped.reason.is_error())
        || !report.problems.is_empty();
    if report.has(OutcomeKind::NeedsOperator) {
        NEEDS_OPERATOR
    } else if report.has(OutcomeKind::RolledBack) {
        ROLLED_BACK
    } else if failed {
        PARTLY
    } else {
        DONE
    }
}
