//! `updater-launch tag`

use clap::Args;

use crate::launch::Error;
use crate::launch::events;
use crate::launch::image::find::find;
use crate::launch::image::name;
use crate::launch::place::Place;
use crate::model::Reference;

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The image: a reference, or the beginning of its ID
    pub(crate) image: String,
    /// New references for it; one without a registry is of localhost
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

pub(crate) fn tag(place: &Place, flags: &Tag) -> Result<u8, Error> {
    let store = place.store()?;
    let image = find(place, &store, &flags.image)?.image;
    let names: Vec<Reference> =
        flags.names.iter().map(|name| name::own(name)).collect::<Result<_, _>>()?;
    for name in names {
        store.tag(&name, &image.identity.manifest)?;
        events::of_image(place, &image, &name.to_string(), "tag");
    }
    Ok(0)
}
