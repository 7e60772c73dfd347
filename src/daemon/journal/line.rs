//! One event as one line for people.

use std::fmt::Write as _;
use std::time::Duration;

use crate::update::{Event, EventKind};

/// `app.service: updated registry.example/app:1 from 0123456789ab to ba9876543210 in 12s`.
pub fn line(event: &Event) -> String {
    let mut text = String::new();
    if let Some(unit) = &event.unit {
        let _ = write!(text, "{unit}: ");
    }
    text.push_str(phrase(event.kind));
    if let Some(reference) = &event.reference {
        let _ = write!(text, " {reference}");
    }
    text.push_str(&digests(event));
    if let Some(elapsed) = event.elapsed_ms {
        let _ = write!(text, " after {}", humantime::format_duration(rounded(elapsed)));
    }
    if !event.detail.is_empty() {
        let _ = write!(text, ": {}", event.detail);
    }
    text
}

/// Which images it is about, in the words of what happened.
fn digests(event: &Event) -> String {
    match (event.kind, &event.old, &event.new) {
        (EventKind::RollingBack | EventKind::RolledBack, Some(old), Some(new)) => {
            format!(" to {}, because {} failed", old.short(), new.short())
        }
        (EventKind::TakenBack, Some(old), Some(new)) => {
            format!(" to {}, and {} is not to blame", old.short(), new.short())
        }
        (EventKind::Quarantined, _, Some(new)) => format!(" ({})", new.short()),
        (_, Some(old), Some(new)) => format!(" from {} to {}", old.short(), new.short()),
        (_, None, Some(digest)) | (_, Some(digest), None) => format!(" ({})", digest.short()),
        (_, None, None) => String::new(),
    }
}

/// Tenths of a second below ten, whole seconds above.
fn rounded(milliseconds: u64) -> Duration {
    let step = if milliseconds < 10_000 { 100 } else { 1000 };
    Duration::from_millis(milliseconds / step * step)
}

fn phrase(kind: EventKind) -> &'static str {
    match kind {
        EventKind::CheckFailed => "could not check",
        EventKind::Misconfigured => "cannot be updated:",
        EventKind::Problem => "problem",
        EventKind::UpdateAvailable => "update available for",
        EventKind::Staging => "pulling",
        EventKind::Staged => "pulled",
        EventKind::Restarting => "restarting for",
        EventKind::Verifying => "waiting until it has settled on",
        EventKind::Updated => "updated",
        EventKind::Reverted => "reverted",
        EventKind::RollingBack => "rolling back",
        EventKind::RolledBack => "rolled back",
        EventKind::UpdateFailed => "update failed:",
        EventKind::NotReached => "not reached, left as it was:",
        EventKind::StoppedMeanwhile => "stopped meanwhile, left alone:",
        EventKind::Deferred => "gets at its next start",
        EventKind::TakenBack => "taken back, needs an operator:",
        EventKind::NeedsOperator => "needs an operator:",
        EventKind::Quarantined => "quarantined",
        EventKind::Suspended => "suspended, to go on later:",
        EventKind::Resumed => "taking up the interrupted update of",
        EventKind::Removed => "removed, for nobody needs it:",
    }
}
