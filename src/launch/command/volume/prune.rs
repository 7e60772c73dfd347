//! `updater-launch volume prune`

use clap::Args;

use crate::launch::command::confirm::confirm;
use crate::launch::command::volume::{Filter, filter, suits};
use crate::launch::lifecycle::traces;
use crate::launch::place::Place;
use crate::launch::storage::users;
use crate::launch::storage::volumes::{self, Volumes};
use crate::launch::storage::writable::Discarded;
use crate::launch::{Error, say};

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Volumes with names of the operator's, too
    #[arg(short, long)]
    all: bool,
    /// Only volumes with this: name=, label=, driver=, anonymous=
    #[arg(long, value_name = "KEY=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn prune(place: &Place, flags: &Prune) -> Result<u8, Error> {
    let which = if flags.all { "all volumes" } else { "all anonymous volumes" };
    let warning = format!("This will remove {which} that no container uses.");
    if !flags.force && !confirm(&warning)? {
        return Ok(0);
    }
    place.enter()?;
    traces::reconcile(place);
    let volumes = Volumes::open(place);
    let mut discarded = Vec::new();
    let lock = place.records().lock()?;
    let found = place.records().all()?;
    if let Some(id) = users::unknown(place, &found) {
        return Err(volumes::Error::Unknown(id.short().to_owned()).into());
    }
    for named in volumes.all()?.0 {
        let is_meant = (flags.all || named.anonymous) && suits(&flags.filter, &named, false);
        if is_meant && users::of(&found, &named.name).is_empty() {
            discarded.extend(volumes.discard(&named.name)?);
            say(&named.name)?;
        }
    }
    drop(lock);
    discarded.into_iter().for_each(Discarded::remove);
    Ok(0)
}
