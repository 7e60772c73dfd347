//! `updaterctl status`

use std::fmt::Write as _;

use serde::Serialize;

use super::{Output, Style, age, json};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded, Service};
use crate::ctl::exit;
use crate::ctl::remote::Properties;
use crate::daemon::api::{Standing, UnitStatus};
use crate::terminal::Tone;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 5] = [
    Column::flexible("UNIT", 12),
    Column::flexible_start("IMAGE", 16),
    Column::fixed("RUNNING"),
    Column::flexible("STATE", 14),
    Column::flexible("LAST UPDATE", 11),
];

/// The document of `status --json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// `null` where the service is not running, or there is no bus to ask it over.
    service: Option<&'a Properties>,
    units: &'a [UnitStatus],
}

pub(super) async fn run<E: Embedded>(access: &Access<E>, style: Style) -> Result<Output, Error> {
    let service = access.service().await?;
    let units = access.units().await?;
    if style.json {
        let service = match &service {
            Service::Running(properties) => Some(properties),
            Service::NotRunning | Service::NoBus => None,
        };
        return json(&Document { service, units: &units }, exit::DONE);
    }
    Ok(Output::new(text(&service, &units, style), exit::DONE))
}

pub(super) fn text(service: &Service, units: &[UnitStatus], style: Style) -> String {
    let mut text = String::new();
    match service {
        Service::Running(service) => {
            let _ = write!(text, "updaterd {}: {}", service.version, service.state);
            if !service.last_check.is_empty() {
                let _ = write!(text, "; last check {}", service.last_check);
            }
            if !service.next_check.is_empty() {
                let _ = write!(text, "; next check {}", service.next_check);
            }
        }
        Service::NotRunning => text.push_str("updaterd is not running"),
        Service::NoBus => text.push_str(
            "There is no bus to ask updaterd over: \"systemctl status updaterd.service\" shows \
             whether it runs.",
        ),
    }
    text.push_str("\n\n");
    if units.is_empty() {
        text.push_str("No running container has the label io.containers.autoupdate.\n");
        return text;
    }
    let rows: Vec<_> = units.iter().map(|unit| row(unit, style)).collect();
    text.push_str(&render(&COLUMNS, &rows, style.terminal));
    for unknown in units.iter().filter(|unit| unit.standing == Standing::Unknown) {
        let _ = write!(text, "\nproblem: {}", unknown.detail);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// How it stands, in words.
pub(super) fn state(status: &UnitStatus) -> (String, Tone) {
    let (word, tone) = match status.standing {
        Standing::Followed => ("followed", Tone::Good),
        Standing::Updating => ("updating", Tone::Notice),
        Standing::OnProbation => ("waits for its next run", Tone::Notice),
        Standing::CheckFailing => ("check failing", Tone::Bad),
        Standing::RolledBack => ("rolled back", Tone::Bad),
        Standing::NeedsOperator => ("needs an operator", Tone::Bad),
        Standing::Held => ("held", Tone::Notice),
        Standing::Waiting => ("update waits", Tone::Notice),
        Standing::Disabled => ("disabled", Tone::Faint),
        Standing::Pinned => ("pinned", Tone::Faint),
        Standing::InvalidPolicy => ("invalid policy", Tone::Bad),
        Standing::NoUnit => ("no unit", Tone::Bad),
        Standing::Unknown => ("unknown", Tone::Bad),
    };
    let mut state = match (&status.running, status.standing) {
        (Some(_), _) | (None, Standing::Unknown | Standing::OnProbation) => word.to_owned(),
        (None, _) => format!("not running: {word}"),
    };
    if status.standing == Standing::Held {
        return (status.detail.clone(), tone);
    }
    // What cannot be read is told as a whole, below.
    if !status.detail.is_empty() && status.standing != Standing::Unknown {
        let joint = if status.standing == Standing::OnProbation { "" } else { ":" };
        let _ = write!(state, "{joint} {}", status.detail);
    }
    (state, tone)
}

/// Whose row it is.
pub(super) fn unit(status: &UnitStatus) -> String {
    match (&status.unit, &status.running) {
        (Some(unit), _) => unit.to_string(),
        (None, Some(running)) => format!("({})", running.container),
        (None, None) => "(unreadable)".to_owned(),
    }
}

/// What it is, as far as that is known.
pub(super) fn reference(status: &UnitStatus) -> String {
    status.reference.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn row(status: &UnitStatus, style: Style) -> Vec<Cell> {
    let (state, tone) = state(status);
    let image = status.running.as_ref().map(|running| running.image.short());
    let last = status
        .last
        .as_ref()
        .map(|entry| format!("{} {}", entry.outcome.result, age(entry.ended, style.now)));
    vec![
        Cell::new(unit(status)),
        Cell::new(reference(status)),
        Cell::new(image.unwrap_or_default()),
        Cell::new(state).tone(tone),
        Cell::new(last.unwrap_or_default()),
    ]
}
