//! `updater-launch pod kill`

use clap::Args;

use super::Which;
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::pod::members;
use crate::launch::supervise::signal;
use crate::launch::{Error, say};
use crate::store::containers::Process;

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The signal, by name or number
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn kill(place: &Place, flags: &Kill) -> Result<u8, Error> {
    let number = signal::parse(&flags.signal)?;
    for pod in flags.which.find(place, false)? {
        for init in members::of(place, &pod)?.iter().filter_map(|record| record.pid) {
            if Process::is_alive(&init) {
                containers::send(init, number)?;
            }
        }
        say(&pod.id)?;
    }
    Ok(0)
}
