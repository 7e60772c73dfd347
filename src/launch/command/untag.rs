//! `updater-launch untag`

use clap::Args;

use crate::launch::Error;
use crate::launch::events;
use crate::launch::image::find::{Found, find};
use crate::launch::image::name;
use crate::launch::place::Place;

#[derive(Debug, Args)]
pub(crate) struct Untag {
    /// The image: a reference, or the beginning of its ID
    pub(crate) image: String,
    /// The names that go; all of the image, where none is given
    pub(crate) names: Vec<String>,
}

pub(crate) fn untag(place: &Place, flags: &Untag) -> Result<u8, Error> {
    let store = place.store()?;
    let Found { image, .. } = find(place, &store, &flags.image)?;
    let mut names = Vec::new();
    for name in &flags.names {
        let reference = name::own(name)?;
        if !image.references.contains(&reference) {
            return Err(Error::NotItsName { image: image.id.short(), name: name.clone() });
        }
        names.push(reference);
    }
    if flags.names.is_empty() {
        names.clone_from(&image.references);
    }
    for name in &names {
        store.untag(name)?;
        events::of_image(place, &image, &name.to_string(), "untag");
    }
    Ok(0)
}
