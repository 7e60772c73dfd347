//! `updater-launch volume ls`

use clap::Args;

use crate::launch::args::Format;
use crate::launch::command::volume::{Filter, Shown, filter, suits};
use crate::launch::lifecycle::traces;
use crate::launch::place::Place;
use crate::launch::storage::users;
use crate::launch::storage::volumes::Volumes;
use crate::launch::{Error, print_json, say};
use crate::model::failure::chain;
use crate::terminal::Terminal;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 2] = [Column::fixed("DRIVER"), Column::flexible("VOLUME NAME", 20)];

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only volumes with this: name=, label=, driver=, dangling=, anonymous=
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    #[arg(long, default_value = "table")]
    format: Format,
}

pub(crate) fn list(place: &Place, flags: &List) -> Result<u8, Error> {
    traces::reconcile(place);
    let volumes = Volumes::open(place);
    let (mut found, problems) = volumes.all()?;
    for problem in &problems {
        eprintln!("Warning: {}, ignoring", chain(problem));
    }
    let records = place.records().all()?;
    found.retain(|named| suits(&flags.filter, named, !users::of(&records, &named.name).is_empty()));
    if flags.quiet {
        found.iter().try_for_each(|named| say(&named.name))?;
    } else if flags.format == Format::Json {
        let shown: Vec<_> = found.iter().map(|named| Shown::new(&volumes, named)).collect();
        print_json(&shown)?;
    } else {
        let row = |name: &String| vec![Cell::new("local"), Cell::new(name.clone())];
        let rows: Vec<_> = found.iter().map(|named| row(&named.name)).collect();
        say(render(&COLUMNS, &rows, Terminal::of_stdout()).trim_end_matches('\n'))?;
    }
    Ok(0)
}
