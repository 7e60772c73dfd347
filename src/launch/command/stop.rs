//! `updater-launch stop`

use clap::Args;

use crate::launch::Error;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::selection::{Selection, each};
use crate::launch::place::Place;
use crate::store::containers::Record;

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds before SIGKILL, instead of the container's own
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// A container or cidfile that is not there is no error
    #[arg(short, long)]
    pub(crate) ignore: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

pub(crate) fn stop(place: &Place, flags: &Stop) -> Result<u8, Error> {
    let found = flags.selection.find(place, flags.ignore, Record::is_running)?;
    each(found, |selected| containers::stop(&selected.record, flags.time))
}
