//! `updaterctl history`

use super::update::tone;
use super::{Output, Style, json, took};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::args;
use crate::ctl::exit;
use crate::terminal::table::{Cell, Column, render};
use crate::update::Entry;

const COLUMNS: [Column; 8] = [
    Column::fixed("ENDED"),
    Column::flexible("UNIT", 12),
    Column::flexible_start("IMAGE", 10),
    Column::fixed("FROM"),
    Column::fixed("TO"),
    Column::fixed("RESULT"),
    Column::fixed("TOOK"),
    Column::flexible("WHY", 4),
];

pub(super) async fn run<E: Embedded>(
    history: &args::History,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    let limit = usize::try_from(history.lines).unwrap_or(usize::MAX);
    let entries = access.history(history.unit.as_ref(), limit).await?;
    if style.json {
        return json(&entries, exit::DONE);
    }
    let text = match &history.unit {
        _ if !entries.is_empty() => table(&entries, style),
        // Perhaps there is no such unit: reading does not look.
        Some(unit) => format!("No update of {unit} is recorded.\n"),
        None => "Nothing was updated yet.\n".to_owned(),
    };
    Ok(Output::new(text, exit::DONE))
}

pub(super) fn table(entries: &[Entry], style: Style) -> String {
    let rows: Vec<_> = entries.iter().map(row).collect();
    render(&COLUMNS, &rows, style.terminal)
}

fn row(entry: &Entry) -> Vec<Cell> {
    let outcome = &entry.outcome;
    vec![
        Cell::new(format!("{:.0}", entry.ended)),
        Cell::new(outcome.unit.as_str()),
        Cell::new(outcome.reference.to_string()),
        Cell::new(outcome.old.short()),
        Cell::new(outcome.new.short()),
        Cell::new(outcome.result.to_string()).tone(tone(outcome.result)),
        Cell::new(took(outcome.elapsed_ms)),
        Cell::new(outcome.detail.as_str()),
    ]
}
