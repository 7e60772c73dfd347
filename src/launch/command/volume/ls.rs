//! `updater-launch volume ls`

use clap::Args;

use crate::launch::command::volume::{Filter, filter, shown, suits};
use crate::launch::lifecycle::traces;
use crate::launch::place::Place;
use crate::launch::storage::users;
use crate::launch::storage::volumes::Volumes;
use crate::launch::{Error, list as print, say};
use crate::model::failure::chain;
use crate::terminal::template::{Format, Layout};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only volumes with this: name=, label=, driver=, dangling=, anonymous=
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// Leave the headings out
    #[arg(short, long)]
    noheading: bool,
    /// "json", or a Go template, after "table" one with headings
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
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
    if flags.quiet && flags.format == Format::Table {
        found.iter().try_for_each(|named| say(&named.name))?;
        return Ok(0);
    }
    let rows: Vec<_> = found.iter().map(|named| shown(&volumes, named)).collect();
    let layout = Layout {
        template: "{{.Driver}}\t{{.Name}}",
        headings: &[("Name", "VOLUME NAME")],
        heading: !flags.noheading,
    };
    print(&flags.format, layout, &rows)?;
    Ok(0)
}
