//! Removing images, and their names.

use crate::launch::Error;
use crate::launch::events;
use crate::launch::image::find::{Found, find};
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::storage::writable::Discarded;
use crate::model::{Digest, Reference};
use crate::store::{Image, Usage};

/// What was removed.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    pub(crate) untagged: Vec<Reference>,
    /// The image's ID, where the image itself went.
    pub(crate) deleted: Option<Digest>,
}

/// Takes the name `name` away; with the last one goes the image. An image named by its ID goes with
/// its one name; with several only by `force`, which also removes the containers made from it that
/// do not run. What is left behind, [`crate::store::Store::collect`] removes.
///
/// # Errors
/// Where it is in use.
pub(crate) fn remove(place: &Place, name: &str, force: bool) -> Result<Removed, Error> {
    let store = place.store()?;
    let Found { image, name: tag } = find(place, &store, name)?;
    let manifest = &image.identity.manifest;
    if let Some(tag) = tag
        && image.references.len() > 1
    {
        store.untag(&tag)?;
        events::of_image(place, &image, &tag.to_string(), "untag");
        return Ok(Removed { untagged: vec![tag], deleted: None });
    }
    if image.references.len() > 1 && !force {
        return Err(Error::SeveralNames { image: image.id.short(), names: names(&image) });
    }
    // Nobody makes a container from it meanwhile: that takes the same lock.
    let records = place.records();
    let lock = records.lock()?;
    let usage = Usage::read(&store, &records)?;
    if let Some(unit) = usage.unit(manifest) {
        let by = format!("{unit}, which is being updated");
        return Err(Error::ImageInUse { image: image.id.short(), by });
    }
    let mut discarded = Vec::new();
    for (id, name) in usage.containers(manifest) {
        let by = format!("container {} ({name})", id.short());
        let in_use = || Error::ImageInUse { image: image.id.short(), by };
        let record = records.get(id)?.filter(|record| force && !record.is_running());
        let record = record.ok_or_else(in_use)?;
        discarded.extend(containers::clear_away(place, &record)?);
    }
    store.forget(manifest)?;
    drop(lock);
    events::of_image(place, &image, name, "remove");
    discarded.into_iter().for_each(Discarded::remove);
    Ok(Removed { untagged: image.references.clone(), deleted: Some(image.id) })
}

fn names(image: &Image) -> String {
    image.references.iter().map(Reference::to_string).collect::<Vec<_>>().join(", ")
}
