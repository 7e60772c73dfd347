//! What the journal is told, structured (systemd.journal-fields(7)).
//!
//! What must not live here: decisions about what happened; entries are made from [`Event`]s.

pub mod message;
mod line;

use std::os::fd::AsFd;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use self::message::Message;
use crate::config::Scope;
use crate::model::OutcomeKind;
use crate::update::{Event, EventKind};

pub use self::line::line;

/// The target under which this program logs; libraries are heard from warnings on.
const TARGET: &str = "updaterd";

/// Sends entries to the journal where standard error is connected to it, else to standard error.
///
/// Call it once, before the first entry.
pub fn install() {
    let filter = || Targets::new().with_target(TARGET, Level::DEBUG).with_default(Level::WARN);
    let journal = under_journal().then(tracing_journald::layer).and_then(Result::ok);
    let subscriber: Box<dyn tracing::Subscriber + Send + Sync> = match journal {
        Some(layer) => {
            Box::new(Registry::default().with(layer.with_field_prefix(None).with_filter(filter())))
        }
        None => Box::new(Registry::default().with(stderr_layer().with_filter(filter()))),
    };
    // A second call changes nothing; the first one's choice stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Sends entries to the journal, wherever standard error goes: for a program that talks to a
/// person on its terminal. Without a journal, entries are dropped.
pub fn install_beside_terminal() {
    let Ok(layer) = tracing_journald::layer() else { return };
    let filter = Targets::new().with_target(TARGET, Level::DEBUG).with_default(Level::WARN);
    let layer = layer.with_field_prefix(None).with_syslog_identifier("updaterd".into());
    let _ = tracing::subscriber::set_global_default(
        Registry::default().with(layer.with_filter(filter)),
    );
}

/// Plain lines, with the message only: the fields are for the journal.
fn stderr_layer<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .fmt_fields(tracing_subscriber::fmt::format::debug_fn(|writer, field, value| {
            if field.name() == "message" { write!(writer, "{value:?}") } else { Ok(()) }
        }))
}

/// Whether `JOURNAL_STREAM=` names the file behind standard error (systemd.exec(5)).
fn under_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr().as_fd()) else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Writes one event down.
pub fn record(scope: Scope, event: &Event) {
    let message = message::of(event.kind);
    let text = line(event);
    let unit = event.unit.as_ref().map(tracing::field::display);
    let image = event.reference.as_ref().map(tracing::field::display);
    let old = event.old.as_ref().map(tracing::field::display);
    let new = event.new.as_ref().map(tracing::field::display);
    // What `journalctl -u` (or `--user -u`) matches, besides the unit's own output.
    let (of_system, of_user) = match scope {
        Scope::System => (event.unit.as_ref().map(tracing::field::display), None),
        Scope::User => (None, event.unit.as_ref().map(tracing::field::display)),
    };
    let outcome = outcome(event.kind);
    macro_rules! entry {
        ($level:expr) => {
            tracing::event!(
                target: TARGET,
                $level,
                MESSAGE_ID = message.id,
                OBJECT_SYSTEMD_UNIT = of_system,
                OBJECT_SYSTEMD_USER_UNIT = of_user,
                UNIT = unit,
                IMAGE = image,
                OLD_DIGEST = old,
                NEW_DIGEST = new,
                OUTCOME = outcome,
                "{text}"
            )
        };
    }
    match level(event.kind) {
        Level::ERROR => entry!(Level::ERROR),
        Level::WARN => entry!(Level::WARN),
        Level::INFO => entry!(Level::INFO),
        _ => entry!(Level::DEBUG),
    }
}

/// Writes down something that concerns the service, not a unit; an error where `failed`.
pub fn note(message: &Message, failed: bool, text: &str) {
    if failed {
        tracing::event!(target: TARGET, Level::ERROR, MESSAGE_ID = message.id, "{text}");
    } else {
        tracing::event!(target: TARGET, Level::INFO, MESSAGE_ID = message.id, "{text}");
    }
}

/// The field `OUTCOME=`, where the event ends something.
pub(super) fn outcome(kind: EventKind) -> Option<&'static str> {
    match kind {
        EventKind::CheckFailed => Some("check-failed"),
        EventKind::Misconfigured => Some("misconfigured"),
        EventKind::Quarantined => Some("quarantined"),
        kind => kind.outcome().map(OutcomeKind::name),
    }
}

/// `tracing-journald` makes priority 3 of ERROR, 4 of WARN, 5 (notice) of INFO, 6 of DEBUG.
fn level(kind: EventKind) -> Level {
    match kind {
        EventKind::NeedsOperator
        | EventKind::TakenBack
        | EventKind::UpdateFailed
        | EventKind::RolledBack => Level::ERROR,
        EventKind::CheckFailed
        | EventKind::Misconfigured
        | EventKind::Problem
        | EventKind::RollingBack
        | EventKind::Quarantined
        | EventKind::Suspended => Level::WARN,
        EventKind::UpdateAvailable
        | EventKind::Updated
        | EventKind::Reverted
        | EventKind::NotReached
        | EventKind::StoppedMeanwhile
        | EventKind::Deferred
        | EventKind::Resumed
        | EventKind::Removed => Level::INFO,
        EventKind::Staging | EventKind::Staged | EventKind::Restarting | EventKind::Verifying => {
            Level::DEBUG
        }
    }
}

#[cfg(test)]
mod tests;
