//! `updater-launch ps`

use serde::Serialize;

use clap::Args;

use crate::launch::args::Format;
use crate::launch::lifecycle::traces;
use crate::launch::network::show;
use crate::launch::place::Place;
use crate::launch::{Error, print_json, say};
use crate::model::failure::chain;
use crate::store::containers::Record;
use crate::terminal::Terminal;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 7] = [
    Column::fixed("CONTAINER ID"),
    Column::flexible_start("IMAGE", 20),
    Column::flexible("COMMAND", 10),
    Column::fixed("STATUS"),
    Column::flexible("UNIT", 12),
    Column::flexible("PORTS", 12),
    Column::flexible("NAME", 12),
];

/// A record, and whether it still runs.
#[derive(Serialize)]
struct Listed<'a> {
    state: &'static str,
    ports: String,
    #[serde(flatten)]
    record: &'a Record,
}

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Show containers that have ended, too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Print IDs only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Do not shorten IDs
    #[arg(long)]
    pub(crate) no_trunc: bool,
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

pub(crate) fn list(place: &Place, flags: &Ps) -> Result<u8, Error> {
    traces::reconcile(place);
    let mut found = place.records().all()?;
    for problem in &found.problems {
        eprintln!("Warning: {}, ignoring", chain(problem));
    }
    found.records.retain(|record| flags.all || record.is_running());
    if flags.quiet {
        found.records.iter().try_for_each(|record| say(id(record, flags)))?;
    } else if flags.format == Format::Json {
        let listed: Vec<_> = found
            .records
            .iter()
            .map(|record| Listed { state: state(record), ports: ports(place, record), record })
            .collect();
        print_json(&listed)?;
    } else {
        let rows: Vec<_> = found.records.iter().map(|record| row(place, record, flags)).collect();
        say(render(&COLUMNS, &rows, Terminal::of_stdout()).trim_end_matches('\n'))?;
    }
    Ok(0)
}

/// Podman's words for what a container does.
pub(crate) fn state(record: &Record) -> &'static str {
    if record.pid.is_some_and(|process| process.is_alive()) {
        "running"
    } else if record.supervisor.is_none() || record.is_supervised() {
        "created"
    } else {
        "exited"
    }
}

fn id<'a>(record: &'a Record, flags: &Ps) -> &'a str {
    if flags.no_trunc { record.id.as_str() } else { record.id.short() }
}

/// The published ports. What cannot be read keeps nobody from the list.
fn ports(place: &Place, record: &Record) -> String {
    show::ports(place, record).map(|ports| show::summary(&ports)).unwrap_or_default()
}

fn row(place: &Place, record: &Record, flags: &Ps) -> Vec<Cell> {
    let unit = record.unit.as_ref().map(ToString::to_string).unwrap_or_default();
    vec![
        Cell::new(id(record, flags)),
        Cell::new(record.reference.to_string()),
        Cell::new(record.command.join(" ")),
        Cell::new(state(record)),
        Cell::new(unit),
        Cell::new(ports(place, record)),
        Cell::new(record.name.clone()),
    ]
}
