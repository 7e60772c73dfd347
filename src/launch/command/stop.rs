//! `updater-launch stop`

use crate::launch::args::Stop;
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::{Error, say};

pub(crate) fn stop(place: &Place, flags: &Stop) -> Result<u8, Error> {
    for record in containers::select(place, &flags.containers, &flags.cidfile, flags.ignore)? {
        containers::stop(&record, flags.time)?;
        say(&record.name)?;
    }
    Ok(0)
}
