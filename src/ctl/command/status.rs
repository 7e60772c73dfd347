//! `updaterctl status`

use std::fmt::Write as _;

use serde::Serialize;

use super::{Output, Style, age, json};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
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
    /// `null` where the service is not running.
    service: Option<&'a Properties>,
    units: &'a [UnitStatus],
}

pub(super) async fn run<E: Embedded>(access: &Access<E>, style: Style) -> Result<Output, Error> {
    let service = access.service().await?;
    let units = access.units().await?;
    if style.json {
        return json(&Document { service: service.as_ref(), units: &units }, exit::DONE);
    }
    Ok(Output::new(text(service.as_ref(), &units, style), exit::DONE))
}

pub(super) fn text(service: Option<&Properties>, units: &[UnitStatus], style: Style) -> String {
    let mut text = String::new();
    match service {
        Some(service) => {
            let _ = write!(text, "updaterd {}: {}", service.version, service.state);
            if !service.last_check.is_empty() {
                let _ = write!(text, "; last check {}", service.last_check);
            }
            if !service.next_check.is_empty() {
                let _ = write!(text, "; next check {}", service.next_check);
            }
        }
        None => text.push_str("updaterd is not running"),
    }
    text.push_str("\n\n");
    if units.is_empty() {
        text.push_str("No running container has the label io.containers.autoupdate.\n");
        return text;
    }
    let rows: Vec<_> = units.iter().map(|unit| row(unit, style)).collect();
    text.push_str(&render(&COLUMNS, &rows, style.terminal));
    text
}

/// How it stands, in words.
pub(super) fn state(status: &UnitStatus) -> (String, Tone) {
    let (word, tone) = match status.standing {
        Standing::Followed => ("followed", Tone::Good),
        Standing::Updating => ("updating", Tone::Notice),
        Standing::CheckFailing => ("check failing", Tone::Bad),
        Standing::RolledBack => ("rolled back", Tone::Bad),
        Standing::NeedsOperator => ("needs an operator", Tone::Bad),
        Standing::Disabled => ("disabled", Tone::Faint),
        Standing::Pinned => ("pinned", Tone::Faint),
        Standing::InvalidPolicy => ("invalid policy", Tone::Bad),
        Standing::NoUnit => ("no unit", Tone::Bad),
    };
    let mut state = match status.running {
        Some(_) => word.to_owned(),
        None => format!("not running: {word}"),
    };
    if !status.detail.is_empty() {
        let _ = write!(state, ": {}", status.detail);
    }
    (state, tone)
}

/// Whose row it is.
pub(super) fn unit(status: &UnitStatus) -> String {
    match (&status.unit, &status.running) {
        (Some(unit), _) => unit.to_string(),
        (None, Some(running)) => format!("({})", running.container),
        (None, None) => String::new(),
    }
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
        Cell::new(status.reference.to_string()),
        Cell::new(image.unwrap_or_default()),
        Cell::new(state).tone(tone),
        Cell::new(last.unwrap_or_default()),
    ]
}
