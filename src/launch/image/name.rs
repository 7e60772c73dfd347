//! What an image is called in full: names without a registry are those of containers-registries.conf(5).

use crate::launch::Error;
use crate::launch::image::find::ending;
use crate::launch::place::Place;
use crate::model::{InvalidReference, Reference};
use crate::registry::short_names::{Candidates, HERE};
use crate::store::Store;

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Named {
    /// It is a full name, or that of an image in storage.
    One(Reference),
    /// What may be pulled for it.
    Any(Candidates),
}

/// What the image `name` is called that is to be run or pulled. What is in storage is found without any
/// registry; what is there under several full names is the first of those that Podman would look for.
///
/// # Errors
/// Where it is no name, or stands for nothing.
pub(crate) fn full(place: &Place, store: &Store, name: &str) -> Result<Named, Error> {
    match name.parse() {
        Ok(reference) => return Ok(Named::One(reference)),
        Err(InvalidReference::ShortName(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let names = place.short_names()?;
    for reference in names.in_storage(name) {
        if store.resolve(&reference)?.is_some() {
            return Ok(Named::One(reference));
        }
    }
    match ending(&store.images()?, name)? {
        Some((_, reference)) => Ok(Named::One(reference)),
        None => Ok(Named::Any(names.to_pull(name)?)),
    }
}

/// Whether it may be one.
///
/// # Errors
/// Where it is none, whatever is configured.
pub(crate) fn check(name: &str) -> Result<(), InvalidReference> {
    match name.parse::<Reference>() {
        Err(InvalidReference::ShortName(_)) if !name.contains("://") => own(name).map(drop),
        named => named.map(drop),
    }
}

/// A name that is given here: without a registry, it is this host's own.
///
/// # Errors
/// Where it is none.
pub(crate) fn own(name: &str) -> Result<Reference, InvalidReference> {
    match name.parse() {
        Err(InvalidReference::ShortName(_)) => format!("{HERE}/{name}").parse(),
        reference => reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_here_is_this_hosts_own() {
        for (name, full) in [("app", "localhost/app:latest"), ("quay.io/app:1", "quay.io/app:1")] {
            assert_eq!(own(name).unwrap().to_string(), full);
            assert_eq!(check(name), Ok(()));
        }
        for name in ["App", "app:", "", "quay.io/App", "a b"] {
            assert!(own(name).is_err() && check(name).is_err(), "{name}");
        }
    }
}
