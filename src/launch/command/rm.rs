//! `updater-launch rm`

use crate::launch::args::Remove;
use crate::launch::place::Place;
use crate::launch::{Error, containers};

pub(crate) fn remove(place: &Place, flags: &Remove) -> Result<u8, Error> {
    for record in containers::select(place, &flags.containers, &flags.cidfile, flags.ignore)? {
        if record.is_running() {
            if !flags.force {
                return Err(Error::Running(record.name));
            }
            containers::stop(&record, flags.time)?;
        }
        containers::clear_away(place, &record)?;
        println!("{}", record.name);
    }
    Ok(0)
}
