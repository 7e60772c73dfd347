//! `updater-launch container prune`

use clap::Args;
use jiff::Timestamp;

use crate::launch::command::confirm::confirm;
use crate::launch::lifecycle::{containers, traces};
use crate::launch::place::Place;
use crate::launch::storage::writable::Discarded;
use crate::launch::view::container::Container;
use crate::launch::view::filter::{ContainerFilter, Filters};
use crate::launch::{Error, say};

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only containers that KEY=VALUE holds for: until, label, label!, or whatever "ps" has
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

pub(crate) fn prune(place: &Place, flags: &Prune) -> Result<u8, Error> {
    if !flags.force && !confirm("This command removes all containers that do not run.")? {
        return Ok(0);
    }
    traces::reconcile(place);
    let all = Container::all(place)?;
    let filter = ContainerFilter::new(&Filters::parse(&flags.filter)?, &all, Timestamp::now())?;
    for container in all.iter().filter(|container| filter.holds(container)) {
        let records = place.records();
        // Nobody starts it meanwhile: that takes the same lock.
        let lock = records.lock()?;
        let record = records.get(&container.record.id)?.filter(|record| !record.is_running());
        let discarded = match &record {
            Some(record) => containers::clear_away(place, record)?,
            None => continue,
        };
        drop(lock);
        discarded.into_iter().for_each(Discarded::remove);
        say(&container.record.id)?;
    }
    Ok(0)
}
