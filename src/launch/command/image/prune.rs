//! `updater-launch image prune`

use clap::Args;
use jiff::Timestamp;

use crate::launch::command::confirm::confirm;
use crate::launch::events;
use crate::launch::place::Place;
use crate::launch::view::filter::{Filters, ImageFilter};
use crate::launch::{Error, say};
use crate::store::{Usage, Which};

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Images that have names, too, where no container is made from them
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only images that KEY=VALUE holds for: until, label, label!, id, reference
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// What units are bound to by an update, or may go back to, stays, and what somebody is just pulling.
pub(crate) fn prune(place: &Place, flags: &Prune) -> Result<u8, Error> {
    let what = match flags.all {
        true => "This command removes all images without at least one container made from them.",
        false => "This command removes all images that have no name and no container.",
    };
    if !flags.force && !confirm(what)? {
        return Ok(0);
    }
    let store = place.store()?;
    // Nobody makes a container from one meanwhile: that takes the same lock.
    let lock = place.records().lock()?;
    let usage = Usage::read(&store, &place.records())?;
    let images = store.images()?;
    let filter = ImageFilter::new(&Filters::parse(&flags.filter)?, &images, Timestamp::now())?;
    let which = if flags.all { Which::Any } else { Which::Unnamed };
    let mut removed = Vec::new();
    for image in images {
        let manifest = &image.identity.manifest;
        let used = usage.is_used(manifest);
        let meant = flags.all || image.references.is_empty();
        if meant && !used && filter.holds(&image, used) && store.forget(manifest, which)? {
            events::of_image(place, &image, &image.id.hex(), "remove");
            removed.push(image.id);
        }
    }
    drop(lock);
    store.collect()?;
    removed.iter().try_for_each(|id| say(id.hex()))?;
    Ok(0)
}
