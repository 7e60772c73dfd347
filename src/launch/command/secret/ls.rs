//! `updater-launch secret ls`

use clap::Args;

use crate::launch::args::Format;
use crate::launch::command::secret::shown;
use crate::launch::place::Place;
use crate::launch::storage::secrets::{Secret, Secrets};
use crate::launch::{Error, print_json, say};
use crate::terminal::Terminal;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 5] = [
    Column::fixed("ID"),
    Column::flexible("NAME", 12),
    Column::fixed("DRIVER"),
    Column::fixed("CREATED"),
    Column::fixed("UPDATED"),
];

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    #[arg(long, default_value = "table")]
    format: Format,
}

pub(crate) fn list(place: &Place, flags: &List) -> Result<u8, Error> {
    let secrets = Secrets::open(place).all()?;
    if flags.quiet {
        secrets.iter().try_for_each(|secret| say(&secret.id))?;
    } else if flags.format == Format::Json {
        print_json(&secrets.iter().map(shown).collect::<Vec<_>>())?;
    } else {
        let rows: Vec<_> = secrets.iter().map(row).collect();
        say(render(&COLUMNS, &rows, Terminal::of_stdout()).trim_end_matches('\n'))?;
    }
    Ok(0)
}

fn row(secret: &Secret) -> Vec<Cell> {
    vec![
        Cell::new(secret.id.clone()),
        Cell::new(secret.name.clone()),
        Cell::new("file"),
        Cell::new(format!("{:.0}", secret.created)),
        Cell::new(format!("{:.0}", secret.updated)),
    ]
}
