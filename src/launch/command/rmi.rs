//! `updater-launch rmi`

use clap::Args;

use crate::launch::image::remove::remove as remove_image;
use crate::launch::place::Place;
use crate::launch::{Error, say};
use crate::model::failure::chain;

#[derive(Debug, Args)]
pub(crate) struct Rmi {
    /// All images that no container is made from
    #[arg(short, long, conflicts_with = "images")]
    pub(crate) all: bool,
    /// Take all names of an image that is named by its ID, and remove the containers made from it
    /// that do not run
    #[arg(short, long)]
    pub(crate) force: bool,
    /// An image that is not there is no error
    #[arg(short, long)]
    pub(crate) ignore: bool,
    /// References or IDs
    #[arg(required_unless_present = "all")]
    pub(crate) images: Vec<String>,
}

/// Goes on where one cannot be removed. The exit status is Podman's: 1 where all that failed were not
/// there, 2 where one is in use.
pub(crate) fn remove(place: &Place, flags: &Rmi) -> Result<u8, Error> {
    let store = place.store()?;
    let images = match flags.all {
        true => store.images()?.iter().map(|image| image.id.hex()).collect(),
        false => flags.images.clone(),
    };
    // All names go, where all images do.
    let force = flags.force || flags.all;
    let mut status = 0;
    for image in &images {
        match remove_image(place, image, force) {
            Ok(removed) => {
                for name in &removed.untagged {
                    say(format_args!("Untagged: {name}"))?;
                }
                if let Some(id) = removed.deleted {
                    say(format_args!("Deleted: {}", id.hex()))?;
                }
            }
            Err(Error::NoSuchImage(_)) if flags.ignore => {}
            Err(error) => {
                eprintln!("Error: {}", chain(&error));
                status = worse(status, &error);
            }
        }
    }
    store.collect()?;
    Ok(status)
}

/// podman-rmi(1), "EXIT STATUS".
fn worse(status: u8, error: &Error) -> u8 {
    match (error, status) {
        (Error::ImageInUse { .. }, _) | (Error::NoSuchImage(_), 2) => 2,
        (Error::NoSuchImage(_), 0 | 1) => 1,
        (_, 2) => 2,
        _ => 125,
    }
}
