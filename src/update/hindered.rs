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
        let rollout = &flight.rollout;
        let before = self.world.ledger().memory()?;
        let mut memory = before.clone();
        let cause = flight.progress.cause.as_ref().map(Cause::to_string).unwrap_or_default();
        let (now, max) = (self.world.clock().now(), self.options.backoff_max);
        let hindered = flight.undoes.is_none() && is_hindered(flight);
        for (goal, aim) in rollout.aims().enumerate() {
            let steps = rollout.steps.iter().zip(&flight.progress.marks);
            let mut own = steps.filter(|(step, _)| step.goal == goal).map(|(_, mark)| mark);
            if hindered && own.clone().any(|mark| *mark == Mark::PutBack) {
                let manifest = &aim.new.manifest;
                memory.put_offs.put_off(aim.reference(), manifest, cause.clone(), now, max);
            } else if own.any(|mark| *mark == Mark::Updated) {
                memory.put_offs.end(aim.reference());
            }
        }
        if memory == before {
            return Ok(());
        }
        self.world.ledger().save_memory(&memory)
    }
}
