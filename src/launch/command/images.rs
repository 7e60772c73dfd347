//! `updater-launch images`

use serde_json::json;

use clap::Args;

use crate::launch::args::Format;
use crate::launch::place::Place;
use crate::launch::{Error, print_json, say};
use crate::model::Reference;
use crate::store::{Image, Store};
use crate::terminal::Terminal;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 4] = [
    Column::flexible_start("IMAGE", 20),
    Column::fixed("MANIFEST"),
    Column::fixed("CREATED"),
    Column::fixed("SIZE"),
];

#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Print IDs only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

pub(crate) fn list(place: &Place, flags: &Images) -> Result<u8, Error> {
    let images = place.store()?.images()?;
    if flags.quiet {
        images.iter().try_for_each(|image| say(image.identity.manifest.short()))?;
    } else if flags.format == Format::Json {
        let all: Vec<_> = images
            .iter()
            .map(|image| {
                json!({
                    "manifest": image.identity.manifest,
                    "target": image.identity.target,
                    "references": image.references,
                    "created": image.created,
                    "size": image.size,
                })
            })
            .collect();
        print_json(&all)?;
    } else {
        let rows: Vec<_> = images.iter().flat_map(rows).collect();
        say(render(&COLUMNS, &rows, Terminal::of_stdout()).trim_end_matches('\n'))?;
    }
    Ok(0)
}

/// One row for each name; an image that has none still has one.
fn rows(image: &Image) -> Vec<Vec<Cell>> {
    let mut names: Vec<String> = image.references.iter().map(Reference::to_string).collect();
    names.sort();
    if names.is_empty() {
        names.push("<none>".to_owned());
    }
    let created = image.created.map(|time| format!("{time:.0}")).unwrap_or_default();
    let size = indicatif::HumanBytes(image.size).to_string();
    let row = |name| {
        vec![
            Cell::new(name),
            Cell::new(image.identity.manifest.short()),
            Cell::new(created.clone()),
            Cell::new(size.clone()),
        ]
    };
    names.into_iter().map(row).collect()
}

/// An image by reference, or by the beginning of its manifest's digest.
pub(crate) fn find(store: &Store, name: &str) -> Result<Option<Image>, Error> {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    let could_be_digest = digits.len() >= 12 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if could_be_digest {
        let starts = |image: &Image| image.identity.manifest.hex().starts_with(digits);
        return Ok(store.images()?.into_iter().find(starts));
    }
    Ok(store.resolve(&name.parse()?)?)
}
