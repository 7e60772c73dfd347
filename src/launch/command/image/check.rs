//! `updater-launch image check`

use clap::Args;

use crate::launch::place::Place;
use crate::launch::{Error, say};
use crate::store::Flaw;

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Take damaged documents away, so that the next pull brings them anew
    #[arg(short, long)]
    repair: bool,
    /// Say nothing; the exit status tells
    #[arg(short, long)]
    quiet: bool,
}

/// Exit status 1 where something is wrong, also where it was taken away: it is missing now.
pub(crate) fn check(place: &Place, flags: &Check) -> Result<u8, Error> {
    let store = place.store()?;
    if flags.repair {
        let dropped = store.drop_damaged()?.ok_or(Error::PullUnderWay)?;
        if !flags.quiet {
            dropped.iter().try_for_each(|digest| say(format!("took {digest} away")))?;
        }
    }
    let checked = store.check()?;
    if !flags.quiet {
        checked.flaws.iter().try_for_each(|flaw| say(format!("{flaw}{}", remedy(flaw))))?;
        match (checked.images, checked.flaws.len()) {
            (1, 0) => say("1 image, nothing is missing or damaged")?,
            (images, 0) => say(format!("{images} images, nothing is missing or damaged"))?,
            _ => {}
        }
    }
    Ok(u8::from(!checked.flaws.is_empty()))
}

/// What to do next.
fn remedy(flaw: &Flaw) -> String {
    match flaw {
        Flaw::Damaged(_) => ": \"updater-launch image check --repair\" takes it away".to_owned(),
        Flaw::Incomplete { references, .. } => match references.first() {
            Some(reference) => format!(": \"updater-launch pull {reference}\" brings it"),
            None => ": it has no name to be pulled by; \"updaterctl update\" brings what is wanted"
                .to_owned(),
        },
        Flaw::Changed { references, .. } => {
            let name = references.first().map_or_else(|| "IMAGE".to_owned(), ToString::to_string);
            format!(
                ": \"updater-launch rmi {name}\", of all images that have it, and a pull bring it anew"
            )
        }
        Flaw::Lost(_) => ": pull the image again, or let the unit be updated".to_owned(),
    }
}
