//! `updater-launch kill`

use clap::Args;

use crate::launch::Error;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::selection::{Selection, each};
use crate::launch::place::Place;
use crate::launch::supervise::signal;
use crate::store::containers::{Process, Record};

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Signal for the container's first process
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub(crate) signal: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

pub(crate) fn kill(place: &Place, flags: &Kill) -> Result<u8, Error> {
    let number = signal::parse(&flags.signal)?;
    let runs = |record: &Record| record.pid.is_some_and(|init| init.is_alive());
    each(flags.selection.find(place, false, runs)?, |selected| {
        match selected.record.pid.filter(Process::is_alive) {
            Some(init) => containers::send_to(&selected.record, init, number),
            None => Err(Error::NotRunning(selected.word.clone())),
        }
    })
}
