//! `updater-launch rm`

use crate::launch::args::Remove;
use crate::launch::lifecycle::{containers, traces};
use crate::launch::place::Place;
use crate::launch::storage::writable::Discarded;
use crate::launch::{Error, say};

pub(crate) fn remove(place: &Place, flags: &Remove) -> Result<u8, Error> {
    let records = containers::select(place, &flags.containers, &flags.cidfile, flags.ignore)?;
    traces::reconcile(place);
    for record in records {
        if record.is_running() {
            if !flags.force {
                return Err(Error::Running(record.name));
            }
            containers::stop(&record, flags.time)?;
        }
        containers::clear_away(place, &record)?.into_iter().for_each(Discarded::remove);
        say(&record.name)?;
    }
    Ok(0)
}
