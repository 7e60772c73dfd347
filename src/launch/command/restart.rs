//! `updater-launch restart`: a container that runs is started again by its own supervisor, in its
//! unit; one that does not is started.

use clap::Args;

use crate::launch::Error;
use crate::launch::control::connection::Connection;
use crate::launch::control::protocol::{Answer, Request};
use crate::launch::lifecycle::selection::{Selection, each};
use crate::launch::place::Place;
use crate::store::containers::Record;

#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Seconds before SIGKILL, instead of the container's own
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// Only those that run
    #[arg(long)]
    pub(crate) running: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

pub(crate) fn restart(place: &Place, flags: &Restart) -> Result<u8, Error> {
    let mut found = flags.selection.find(place, false, |_| true)?;
    if flags.running {
        found.retain(|found| found.as_ref().map_or(true, |found| found.record.is_running()));
    }
    each(found, |selected| match selected.record.is_running() {
        true => by_supervisor(&selected.record, flags.time),
        false => {
            place.enter()?;
            super::start::in_background(place, &selected.record)
        }
    })
}

fn by_supervisor(record: &Record, timeout: Option<u32>) -> Result<(), Error> {
    let failed = |source| Error::Unreachable { name: record.name.clone(), source };
    let connection = Connection::open(record).map_err(failed)?;
    connection.ask(&Request::Restart(timeout)).map_err(failed)?;
    loop {
        match connection.answer().map_err(failed)? {
            Some(Answer::Started) => return Ok(()),
            Some(_) => {}
            None => return Err(Error::NotRestarted(record.name.clone())),
        }
    }
}
