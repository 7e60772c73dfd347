//! `updater-launch images`

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

use crate::launch::place::Place;
use crate::launch::view::filter::{Filters, ImageFilter};
use crate::launch::view::image;
use crate::launch::{Error, list as print_list, say, show};
use crate::store::Image;
use crate::terminal::template::{Format, Layout};

#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Only images that KEY=VALUE holds for: reference, id, label, dangling, containers, before,
    /// since, until
    #[arg(short, long, value_name = "KEY=VALUE", conflicts_with = "reference")]
    pub(crate) filter: Vec<String>,
    /// Print IDs only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Show images that another stands on, too: there are none
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Show digests of manifests
    #[arg(long)]
    pub(crate) digests: bool,
    /// Do not shorten IDs
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Leave the headings out
    #[arg(short, long)]
    pub(crate) noheading: bool,
    #[arg(long, value_name = "FIELD", default_value = "created")]
    pub(crate) sort: Sort,
    /// "json", or a Go template, after "table" one with headings
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    pub(crate) format: Format,
    /// Only images of this name
    pub(crate) reference: Option<String>,
}

/// What a list of images is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Created,
    Id,
    Repository,
    Size,
    Tag,
}

const HEADINGS: &[(&str, &str)] =
    &[("ID", "IMAGE ID"), ("Id", "IMAGE ID"), ("ReadOnly", "R/O"), ("CreatedSince", "CREATED")];

pub(crate) fn list(place: &Place, flags: &Images) -> Result<u8, Error> {
    let now = Timestamp::now();
    let mut images = select(place, flags, now)?;
    sort(&mut images, flags.sort);
    if flags.format.is_json() {
        let rows: Vec<Value> =
            images.iter().map(|(image, count)| image::summary(image, *count)).collect();
        return show(&flags.format, &rows).map(|()| 0);
    }
    if flags.quiet && flags.format == Format::Table {
        for (image, _) in &images {
            say(if flags.no_trunc { image.id.to_string() } else { image.id.short() })?;
        }
        return Ok(0);
    }
    let mut rows: Vec<Value> =
        images.iter().flat_map(|(image, _)| image::rows(image, flags.no_trunc, now)).collect();
    if let Some(field) = match flags.sort {
        Sort::Repository => Some("Repository"),
        Sort::Tag => Some("Tag"),
        Sort::Created | Sort::Id | Sort::Size => None,
    } {
        rows.sort_by_key(|row| row[field].as_str().map(str::to_owned));
    }
    let digest = if flags.digests { "{{.Digest}}\t" } else { "" };
    let template = format!(
        "{{{{.Repository}}}}\t{{{{.Tag}}}}\t{digest}{{{{.ID}}}}\t{{{{.Created}}}}\t{{{{.Size}}}}"
    );
    let layout = Layout { template: &template, headings: HEADINGS, heading: !flags.noheading };
    print_list(&flags.format, layout, &rows)?;
    Ok(0)
}

/// The images, each with how many containers are made from it.
fn select(place: &Place, flags: &Images, now: Timestamp) -> Result<Vec<(Image, usize)>, Error> {
    let images = place.store()?.images()?;
    let mut filters = flags.filter.clone();
    filters.extend(flags.reference.iter().map(|reference| format!("reference={reference}")));
    let filter = ImageFilter::new(&Filters::parse(&filters)?, &images, now)?;
    let records = place.records().all()?.records;
    let counted = images.into_iter().map(|image| {
        let manifest = &image.identity.manifest;
        let count = records.iter().filter(|record| record.image.manifest == *manifest).count();
        (image, count)
    });
    Ok(counted.filter(|(image, count)| filter.holds(image, *count > 0)).collect())
}

fn sort(images: &mut [(Image, usize)], by: Sort) {
    match by {
        Sort::Id => images.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id)),
        Sort::Size => images.sort_by_key(|(image, _)| image.size),
        // The newest first, as in Podman.
        Sort::Created | Sort::Repository | Sort::Tag => {
            images.sort_by_key(|(image, _)| std::cmp::Reverse(image.created));
        }
    }
}
