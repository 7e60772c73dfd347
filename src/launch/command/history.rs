//! `updater-launch history`

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::disk;
use crate::launch::image::find::find;
use crate::launch::place::Place;
use crate::launch::view::words;
use crate::launch::{Error, list, say};
use crate::store::Image;
use crate::terminal::template::{Format, Layout};

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten IDs and commands
    #[arg(long)]
    no_trunc: bool,
    /// "json", or a Go template, after "table" one with headings
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Format,
    /// Reference or ID
    image: String,
}

const COLUMNS: &str = "{{.ID}}\t{{.Created}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
/// The longest command shown, in characters.
const COMMAND: usize = 45;

pub(crate) fn show(place: &Place, flags: &History) -> Result<u8, Error> {
    let image = find(place, &place.store()?, &flags.image)?.image;
    let rows = steps(&image, flags, Timestamp::now());
    if flags.quiet && flags.format == Format::Table {
        for row in &rows {
            say(row["ID"].as_str().unwrap_or_default())?;
        }
        return Ok(0);
    }
    let layout = Layout { template: COLUMNS, headings: &[("ID", "ID")], heading: true };
    list(&flags.format, layout, &rows)?;
    Ok(0)
}

/// The newest first; each but the empty ones has a layer.
fn steps(image: &Image, flags: &History, now: Timestamp) -> Vec<Value> {
    let mut layers = image.config.rootfs().diff_ids().iter();
    let json = flags.format.is_json();
    let mut rows = Vec::new();
    for step in image.config.history().iter().flatten() {
        let empty = step.empty_layer().unwrap_or(false);
        let layer = if empty { None } else { layers.next() };
        let directory = layer.and_then(|id| id.split_once(':')).and_then(|(_, hex)| {
            image.layers.iter().find(|path| path.file_name().is_some_and(|name| name == hex))
        });
        let size = directory.map_or(0, |directory| disk::usage(directory).unwrap_or(0));
        let created: Option<Timestamp> = step.created().as_deref().and_then(|at| at.parse().ok());
        let by = step.created_by().clone().unwrap_or_default();
        let short = match by.char_indices().nth(COMMAND) {
            Some((end, _)) if !flags.no_trunc => {
                format!("{}...", by.get(..end).unwrap_or_default())
            }
            _ => by.clone(),
        };
        let ago = created.map_or_else(|| "N/A".to_owned(), |time| words::ago(time, now));
        let comment = step.comment().clone().unwrap_or_default();
        rows.push(match json {
            true => json!({
                "id": "<missing>", "created": words::time(created), "CreatedBy": by,
                "size": size, "comment": comment, "emptyLayer": empty,
            }),
            false => json!({
                "ID": "<missing>", "Created": ago, "CreatedSince": ago,
                "CreatedAt": words::time(created), "CreatedBy": short,
                "Size": words::size(size), "Comment": comment,
            }),
        });
    }
    let id = if flags.no_trunc || json { image.id.hex() } else { image.id.short() };
    if let Some(last) = rows.last_mut() {
        last[if json { "id" } else { "ID" }] = id.into();
    }
    rows.reverse();
    rows
}
