//! Finding an image in local storage.

use std::collections::BTreeSet;

use crate::launch::Error;
use crate::launch::place::Place;
use crate::model::failure::chain;
use crate::model::{InvalidReference, Reference};
use crate::store::{Image, Store};

/// What an image was found by.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) image: Image,
    /// The tag that names it; `None` where it was found by its ID or a digest.
    pub(crate) name: Option<Reference>,
}

/// An image by reference, by a short name that stands for one (containers-registries.conf(5)), by the
/// end of one (`app:1` for `quay.io/team/app:1`), by the beginning of its ID, or of its manifest's digest.
///
/// # Errors
/// Where several are meant, and where none is.
pub(crate) fn find(place: &Place, store: &Store, name: &str) -> Result<Found, Error> {
    let nothing = || Error::NoSuchImage(name.to_owned());
    for reference in named(place, name) {
        if let Some(image) = store.resolve(&reference)? {
            let name = reference.digest().is_none().then_some(reference);
            return Ok(Found { image, name });
        }
    }
    let images = store.images()?;
    if let Some(image) = by_id(&images, name)? {
        return Ok(Found { image, name: None });
    }
    let found = ending(&images, name)?;
    found.map(|(image, name)| Found { image, name: Some(name) }).ok_or_else(nothing)
}

/// What `name` may be in full. An image is found by its ID also where registries.conf cannot be read.
fn named(place: &Place, name: &str) -> Vec<Reference> {
    match name.parse() {
        Ok(reference) => vec![reference],
        Err(InvalidReference::ShortName(_)) => match place.short_names() {
            Ok(names) => names.in_storage(name),
            Err(error) => {
                eprintln!("Warning: {}, ignoring", chain(&error));
                vec![]
            }
        },
        Err(_) => vec![],
    }
}

/// The one image that has a reference with this end.
///
/// # Errors
/// Where several have.
pub(super) fn ending(images: &[Image], name: &str) -> Result<Option<(Image, Reference)>, Error> {
    let mut ending = Vec::new();
    for image in images {
        let ends = image.references.iter().filter(|reference| ends_with(reference, name));
        ending.extend(ends.map(|reference| (image.clone(), reference.clone())));
    }
    match ending.len() {
        0 | 1 => Ok(ending.pop()),
        _ => Err(Error::AmbiguousName(name.to_owned())),
    }
}

/// As [`find`]; `None` where there is none.
pub(crate) fn look_for(place: &Place, store: &Store, name: &str) -> Result<Option<Image>, Error> {
    match find(place, store, name) {
        Err(Error::NoSuchImage(_)) => Ok(None),
        found => found.map(|found| Some(found.image)),
    }
}

fn by_id(images: &[Image], name: &str) -> Result<Option<Image>, Error> {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    if digits.len() < 3 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let begins = |image: &&Image| {
        image.id.hex().starts_with(digits) || image.identity.manifest.hex().starts_with(digits)
    };
    let found: Vec<&Image> = images.iter().filter(begins).collect();
    let ids: BTreeSet<_> = found.iter().map(|image| &image.id).collect();
    match ids.len() {
        0 | 1 => Ok(found.first().map(|image| (*image).clone())),
        _ => Err(Error::AmbiguousImage(name.to_owned())),
    }
}

/// Whether the last components of `reference` are `name`; without a tag, the latest is meant.
fn ends_with(reference: &Reference, name: &str) -> bool {
    let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let wanted = if tagged { name.to_owned() } else { format!("{name}:latest") };
    !name.is_empty() && reference.to_string().ends_with(&format!("/{wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_is_enough() {
        let reference: Reference = "quay.io/team/app:latest".parse().unwrap();
        for name in ["app", "app:latest", "team/app"] {
            assert!(ends_with(&reference, name), "{name}");
        }
        for name in ["pp", "app:1", "io/team/app", ""] {
            assert!(!ends_with(&reference, name), "{name}");
        }
    }
}
