//! `updater-launch secret ls`

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use crate::launch::command::secret::shown;
use crate::launch::place::Place;
use crate::launch::storage::secrets::{Secret, Secrets};
use crate::launch::view::words;
use crate::launch::{Error, list as print, say, show};
use crate::terminal::template::{Format, Layout};

const COLUMNS: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}";

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print IDs only
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
    let secrets = Secrets::open(place).all()?;
    if flags.quiet && flags.format == Format::Table {
        secrets.iter().try_for_each(|secret| say(&secret.id))?;
        return Ok(0);
    }
    if flags.format.is_json() {
        return show(&flags.format, &secrets.iter().map(shown).collect::<Vec<_>>()).map(|()| 0);
    }
    let now = Timestamp::now();
    let row = |secret: &Secret| {
        json!({
            "ID": secret.id,
            "Name": secret.name,
            "Driver": "file",
            "CreatedAt": words::ago(secret.created, now),
            "UpdatedAt": words::ago(secret.updated, now),
        })
    };
    let rows: Vec<_> = secrets.iter().map(row).collect();
    let headings = &[("CreatedAt", "CREATED"), ("UpdatedAt", "UPDATED")];
    print(&flags.format, Layout { template: COLUMNS, headings, heading: !flags.noheading }, &rows)?;
    Ok(0)
}
