//! Storage at the end of a pass: what updaterd pulled and nobody needs any more goes, a few images at a
//! time ([`crate::plan::retention`] says which). What fails here costs no update anything, and is tried
//! again by the next pass.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::port::{Cleared, Engine, Ledger, Observer, Stored, World};
use super::updater::Updater;
use super::{Event, EventKind};
use crate::model::{Digest, Failure};
use crate::plan::retention::{Limits, clear};

impl<W: World> Updater<W> {
    /// Removes what need not stay of each engine's storage, and says what could not be removed. `since`
    /// is when the pass began.
    pub(super) async fn clear_storage(&self, since: Timestamp) -> Vec<String> {
        let mut limits = self.options.retention;
        let mut said = Vec::new();
        for engine in self.world.engines() {
            let failures = match self.clear_one(engine, since, limits).await {
                Ok(Cleared { removed, failures }) => {
                    limits.at_once = limits.at_once.saturating_sub(removed.len());
                    failures
                }
                Err(failure) => vec![failure],
            };
            for failure in failures {
                let message = format!("images that nobody needs are still there: {failure}");
                let failure = Failure::new(failure.kind, message);
                self.problem(&failure);
                said.push(failure.message);
            }
        }
        said
    }

    async fn clear_one(
        &self,
        engine: &W::Engine,
        since: Timestamp,
        limits: Limits,
    ) -> Result<Cleared, Failure> {
        let stock = engine.stock(limits.budget > 0).await?;
        let clearing = clear(&stock, &self.under_way()?, since, limits);
        if clearing.is_empty() {
            return Ok(Cleared::default());
        }
        let cleared = engine.clear(&clearing).await?;
        let gone = |image: &&Stored| cleared.removed.contains(&image.id);
        for pulled in clearing.remove.iter().filter(gone).filter_map(|image| image.pulled.as_ref())
        {
            self.world.observer().event(&Event {
                reference: Some(pulled.reference.clone()),
                old: Some(pulled.manifest.clone()),
                ..Event::new(EventKind::Removed)
            });
        }
        Ok(cleared)
    }

    /// The images of rollouts that have not ended, and of units on probation.
    fn under_way(&self) -> Result<BTreeSet<Digest>, Failure> {
        let mut images = BTreeSet::new();
        for flight in self.world.ledger().in_flight()? {
            let rollout = &flight.rollout;
            let along = rollout.steps.iter().flat_map(|step| &step.along);
            let all = along
                .flat_map(|along| [&along.old, &along.new])
                .chain(rollout.steps.iter().map(|step| &step.old))
                .chain(rollout.aims().map(|aim| aim.new));
            images.extend(all.flat_map(|image| [image.target.clone(), image.manifest.clone()]));
        }
        for held in self.world.ledger().probations()? {
            let both = [&held.old, &held.new].into_iter();
            images.extend(both.flat_map(|image| [image.target.clone(), image.manifest.clone()]));
        }
        Ok(images)
    }
}
