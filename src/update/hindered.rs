//! Updates that something other than their image came in the way of: the old image is back, nothing
//! is quarantined, and somebody has to see to the cause ([decision 27](../../docs/decisions/0027-verdicts.md)).

use super::port::{Clock, InFlight, Ledger, World};
use super::updater::Updater;
use crate::model::{Failure, ImageIdentity, UnitName};
use crate::plan::Cause;
use crate::plan::rollout::Mark;

/// Whether what has the rollout go back proves nothing against its image.
pub(super) fn is_hindered(flight: &InFlight) -> bool {
    flight.progress.cause.as_ref().is_some_and(|cause| !cause.blames_image())
}

/// What an operator is told of a unit that has its `old` image again for this `cause`.
pub(super) fn advice(by_hand: bool, unit: &UnitName, old: &ImageIdentity, cause: &str) -> String {
    let again = match by_hand {
        true => "then ask for the rollback again".to_owned(),
        false => format!(
            "then \"updaterctl update {unit}\" (by itself it is tried again an hour later, and later \
             each time)"
        ),
    };
    let old = old.manifest.short();
    format!("{cause}; that is not the image's doing, and it has {old} again: see to it, {again}")
}

impl<W: World> Updater<W> {
    /// Has an image that was taken back wait, and one that came to a unit wait no more. Where that
    /// cannot be written down, the next pass tries it.
    pub(super) fn put_off(&self, flight: &InFlight) -> Result<(), Failure> {
        let marks = &flight.progress.marks;
        let rollout = &flight.rollout;
        let mut memory = self.world.ledger().memory()?;
        if flight.undoes.is_none() && is_hindered(flight) && marks.contains(&Mark::PutBack) {
            let cause = flight.progress.cause.as_ref().map(Cause::to_string).unwrap_or_default();
            let (now, max) = (self.world.clock().now(), self.options.backoff_max);
            let (reference, new) = (rollout.reference(), &rollout.new.manifest);
            memory.put_offs.put_off(reference, new, cause, now, max);
        } else if marks.contains(&Mark::Updated) {
            memory.put_offs.end(rollout.reference());
        } else {
            return Ok(());
        }
        self.world.ledger().save_memory(&memory)
    }
}
