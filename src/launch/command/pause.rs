//! `updater-launch pause` and `unpause`: the container's cgroup is frozen.

use clap::Args;

use crate::launch::Error;
use crate::launch::isolation::cgroup;
use crate::launch::lifecycle::selection::{Selected, Selection, each};
use crate::launch::place::Place;
use crate::store::containers::{Process, Record};

#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(crate) selection: Selection,
}

pub(crate) fn pause(place: &Place, flags: &Pause, frozen: bool) -> Result<u8, Error> {
    let sensible = |record: &Record| {
        let cgroup = record.cgroup.as_deref().filter(|_| is_alive(record));
        cgroup.is_some_and(|cgroup| cgroup::is_frozen(cgroup) != frozen)
    };
    each(flags.selection.find(place, false, sensible)?, |selected| set(selected, frozen))
}

fn is_alive(record: &Record) -> bool {
    record.pid.as_ref().is_some_and(Process::is_alive)
}

fn set(selected: &Selected, frozen: bool) -> Result<(), Error> {
    let Selected { word, record } = selected;
    if !is_alive(record) {
        return Err(Error::NotRunning(word.clone()));
    }
    let cgroup = record.cgroup.as_deref().ok_or_else(|| Error::NoOwnCgroup(word.clone()))?;
    match (cgroup::is_frozen(cgroup), frozen) {
        (true, true) => Err(Error::Paused(word.clone())),
        (false, false) => Err(Error::NotPaused(word.clone())),
        _ => Ok(cgroup::freeze(cgroup, frozen)?),
    }
}
