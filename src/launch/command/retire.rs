//! `updater-launch retire`: the removal of images for the service of an ordinary user, whose files belong
//! to users of a namespace that it is not in. What is to go comes on standard input ([`Retirement`]), the
//! manifests of what went go to standard output, as JSON.

use crate::launch::place::Place;
use crate::launch::{Error, say};
use crate::model::Failure;
use crate::store::{Brake, Retirement};

pub(crate) fn retire(place: &Place) -> Result<u8, Error> {
    let asked: Retirement = serde_json::from_reader(std::io::stdin()).map_err(Error::Json)?;
    // Asked to end it dies, and the next sweep goes on.
    let removed = place.store()?.retire(&place.records(), &asked, &Brake::default());
    let removed = removed.map_err(Failure::from);
    say(serde_json::to_string(&removed).map_err(Error::Json)?)?;
    Ok(0)
}
