//! Storage at the end of a pass: what updaterd pulled and nobody needs any more goes, a few images at a
//! time ([`crate::plan::retention`] says which). What fails here costs no update anything, and is tried
//! again by the next pass.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::port::{
    Cleared, Clock as _, Engine, Ledger, Manager as _, Observer, Stock, Stored, World,
};
use super::updater::Updater;
use super::{Event, EventKind};
use crate::model::{Container, Digest, Failure, UnitName};
use crate::plan::retention::{Limits, clear};

impl<W: World> Updater<W> {
    /// Removes what need not stay of each engine's storage, and says what could not be removed. `since`
    /// is when the pass began, and `running` what it found.
    pub(super) async fn clear_storage(
        &self,
        since: Timestamp,
        running: &[Container],
    ) -> Vec<String> {
        let mut limits = self.options.retention;
        let (mut stocks, mut failures) = (Vec::new(), Vec::new());
        for engine in self.world.engines() {
            match engine.stock(limits.budget > 0).await {
                Ok(stock) => stocks.push((engine, stock)),
                Err(failure) => failures.push(failure),
            }
        }
        let mut gone = BTreeSet::new();
        // Whose images an engine keeps that does not answer is not known, nor who of them is gone.
        if failures.is_empty() {
            match self.gone(stocks.iter().map(|(_, stock)| stock), running).await {
                Ok(units) => gone = units,
                Err(failure) => failures.push(failure),
            }
        }
        for (engine, stock) in &stocks {
            match self.clear_one(engine, stock, since, &gone, limits).await {
                Ok(cleared) => {
                    limits.at_once = limits.at_once.saturating_sub(cleared.removed.len());
                    failures.extend(cleared.failures);
                }
                Err(failure) => failures.push(failure),
            }
        }
        failures.into_iter().map(|failure| self.left_over(&failure)).collect()
    }

    /// Says that images stay that nobody needs.
    fn left_over(&self, cause: &Failure) -> String {
        let message = format!("images that nobody needs are still there: {cause}");
        let failure = Failure::new(cause.kind.clone(), message);
        self.problem(&failure);
        failure.message
    }

    /// The units that images are kept for, and that are gone for good. Who runs is there, and nobody need
    /// ask; of whom nothing is told, it is not known.
    async fn gone<'a>(
        &self,
        stocks: impl Iterator<Item = &'a Stock>,
        running: &[Container],
    ) -> Result<BTreeSet<UnitName>, Failure> {
        let running: BTreeSet<&UnitName> =
            running.iter().filter_map(|container| container.unit.as_ref()).collect();
        let kept: BTreeSet<&UnitName> = stocks
            .flat_map(|stock| &stock.shelves)
            .filter_map(|shelf| shelf.unit.as_ref())
            .collect();
        let mut absent = BTreeSet::new();
        for unit in kept.difference(&running).copied() {
            if self.world.manager().state(unit).await.is_ok_and(|state| !state.is_there) {
                absent.insert(unit.clone());
            }
        }
        let now = self.world.clock().now();
        let before = self.world.ledger().memory()?;
        let mut memory = before.clone();
        memory.absences.note(&absent, now);
        if memory != before {
            self.world.ledger().save_memory(&memory)?;
        }
        Ok(memory.absences.for_good(now))
    }

    async fn clear_one(
        &self,
        engine: &W::Engine,
        stock: &Stock,
        since: Timestamp,
        gone: &BTreeSet<UnitName>,
        limits: Limits,
    ) -> Result<Cleared, Failure> {
        let clearing = clear(stock, &self.under_way()?, gone, since, limits);
        if clearing.is_empty() {
            return Ok(Cleared::default());
        }
        let cleared = engine.clear(&clearing).await?;
        let is_removed = |image: &&Stored| cleared.removed.contains(&image.id);
        let removed = clearing.remove.iter().filter(is_removed);
        for pulled in removed.filter_map(|image| image.pulled.as_ref()) {
            self.world.observer().event(&Event {
                reference: Some(pulled.reference.clone()),
                old: Some(pulled.manifest.clone()),
                ..Event::new(EventKind::Removed)
            });
        }
        Ok(cleared)
    }

    /// The images of rollouts that have not ended, of units on probation, and of units that wait for them.
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
        // What waits for its time has not come to a unit, whichever pass this is.
        for image in self.world.ledger().memory()?.seen.awaited() {
            images.extend([image.target.clone(), image.manifest.clone()]);
        }
        for held in self.world.ledger().probations()? {
            let both = [&held.old, &held.new].into_iter();
            images.extend(both.flat_map(|image| [image.target.clone(), image.manifest.clone()]));
        }
        Ok(images)
    }
}
