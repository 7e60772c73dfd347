//! `updaterctl history`

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::update::tone;
use super::{Output, Style, json, took};
use crate::ctl::Error;
use crate::ctl::access::{Access, Embedded};
use crate::ctl::args;
use crate::ctl::exit;
use crate::daemon::api::HistoryQuery;
use crate::model::UnitName;
use crate::terminal::table::{Cell, Column, render};
use crate::update::{Entry, Excerpt};

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
    let query = query(history, style)?;
    let entries = access.history(&query).await?;
    if style.json {
        return json(&entries, exit::DONE);
    }
    let text = match entries.is_empty() {
        true => nothing(&query),
        false if history.verbose => full(&entries),
        false => table(&entries, style),
    };
    Ok(Output::new(text, exit::DONE))
}

fn query(history: &args::History, style: Style) -> Result<HistoryQuery, Error> {
    let zone = TimeZone::system();
    let since = match history.since {
        None => None,
        Some(since) => Some(since.resolve(style.now, &zone).ok_or(Error::NoSuchTime)?),
    };
    Ok(HistoryQuery {
        units: history.units.iter().chain(&history.more_units).cloned().collect(),
        since,
        outcomes: history.outcomes.clone(),
        limit: usize::try_from(history.limit).unwrap_or(usize::MAX),
    })
}

/// Perhaps there is no such unit: reading does not look.
fn nothing(query: &HistoryQuery) -> String {
    let units: Vec<&str> = query.units.iter().map(UnitName::as_str).collect();
    let of = if units.is_empty() { String::new() } else { format!(" of {}", units.join(", ")) };
    match query {
        HistoryQuery { since: None, outcomes, .. } if outcomes.is_empty() && of.is_empty() => {
            "Nothing was updated yet.\n".to_owned()
        }
        HistoryQuery { since: None, outcomes, .. } if outcomes.is_empty() => {
            format!("No update{of} is recorded.\n")
        }
        _ => format!("No such update{of} is recorded.\n"),
    }
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

/// Each entry with all that is known of it.
pub(super) fn full(entries: &[Entry]) -> String {
    let all: Vec<String> = entries.iter().map(one).collect();
    all.join("\n")
}

fn one(entry: &Entry) -> String {
    let Entry { ended, trigger, engine, outcome, logs, .. } = entry;
    let mut text = format!("{}: {} at {ended:.0}\n", outcome.unit, outcome.result);
    let engine = engine.map(|engine| format!(" ({engine})")).unwrap_or_default();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "    {name:5} {value}");
    };
    line("image", &format_args!("{}{engine}", outcome.reference));
    line("from", &outcome.old);
    line("to", &outcome.new);
    line("took", &format_args!("{}, asked for by: {trigger}", took(outcome.elapsed_ms)));
    if !outcome.detail.is_empty() {
        line("why", &outcome.detail);
    }
    logs.iter().for_each(|log| excerpt(log, &mut text));
    text
}

fn excerpt(log: &Excerpt, text: &mut String) {
    let Excerpt { unit, invocation, lines, missing } = log;
    let _ = writeln!(text, "    the journal of {unit}, invocation {invocation}:");
    match (lines.is_empty(), missing.as_str()) {
        (true, "") => text.push_str("        (nothing)\n"),
        (true, why) => {
            let _ = writeln!(text, "        (cannot be read: {why})");
        }
        (false, _) => lines.iter().for_each(|line| {
            let _ = writeln!(text, "        {line}");
        }),
    }
}
