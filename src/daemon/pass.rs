//! The operations of the service over the ports of one host: what the daemon does for its
//! callers, and what `updaterctl` does by itself where there is no service.

use std::future::pending;
use std::path::PathBuf;

use super::api::{Api, Checked, Error, Held, HistoryQuery, Holding, RegistryStatus, UnitStatus};
use super::hosts;
use super::notify::Teller;
use super::run::Work;
use super::units::{Known, not_running, statuses, unknown, waiting};
use crate::ledger::{History, Ledger, PassLock, lock::LockError};
use crate::model::failure::{chain, excerpt};
use crate::model::{Container, Digest, Failure, UnitName};
use crate::plan::{Approval, Approvals, Hold, Holds, Quarantined};
use crate::update::port::{Clock as _, Inventory, Ledger as _, Manager as _, World};
use crate::update::{Entry, Options, Report, Surveyed, Trigger, Updater};

/// How far back a status looks for a unit's last update.
const STATUS_HISTORY: usize = 2_000;

/// The fewest hexadecimal digits that name a digest: as many as tables show.
const DIGITS: usize = 12;

/// Passes over one host's ports.
pub struct Pass<W> {
    updater: Updater<W>,
    /// Where the pass lock lies.
    run: PathBuf,
    /// Who takes the lock, as others are told.
    program: &'static str,
    /// Who tells how updates ended.
    teller: Option<Teller>,
}

impl<W: World<Ledger: AsRef<Ledger>>> Pass<W> {
    pub fn new(world: W, options: Options, run: PathBuf, program: &'static str) -> Self {
        Self { updater: Updater::new(world, options), run, program, teller: None }
    }

    #[must_use]
    pub(super) fn told_by(self, teller: Option<Teller>) -> Self {
        Self { teller, ..self }
    }

    /// What is not taken now is told by the next pass, or by the service.
    async fn tell(&self) {
        if let Some(teller) = &self.teller {
            teller.tell().await;
        }
    }

    fn lock(&self) -> Result<PassLock, Error> {
        PassLock::try_acquire(&self.run, self.program).map_err(|error| match error {
            LockError::Held(_) | LockError::HeldByUnknown => Error::Busy(error.to_string()),
            LockError::Io { .. } => Error::Failed(chain(&error)),
        })
    }

    fn ledger(&self) -> &Ledger {
        self.updater.world().ledger().as_ref()
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        Ok(self.updater.world().inventory().await?)
    }

    /// Newest first.
    fn entries(&self, limit: usize) -> Result<Vec<Entry>, Failure> {
        let mut entries = self.ledger().history(limit, |_| true)?.entries;
        entries.reverse();
        Ok(entries)
    }

    /// Joins the containers as they are now with what the ledger knows.
    async fn join(
        &self,
        containers: &[Container],
        join: impl FnOnce(&[Container], &Known<'_>) -> Vec<UnitStatus>,
    ) -> Result<Vec<UnitStatus>, Error> {
        let sources = containers.iter().map(|container| &container.source);
        let memory = self.ledger().memory()?;
        let known = Known {
            gates: &self.updater.gates(containers, &[], &memory)?,
            now: self.updater.world().clock().now(),
            memory: &memory,
            hosts: &self.updater.hosts(sources).await,
            in_flight: &self.ledger().in_flight().map_err(failed)?,
            probations: &self.ledger().probations().map_err(failed)?,
            history: &self.entries(STATUS_HISTORY)?,
        };
        Ok(join(containers, &known))
    }
}

fn failed(error: crate::ledger::Error) -> Error {
    Failure::from(error).into()
}

impl<W: World<Ledger: AsRef<Ledger>>> Pass<W> {
    /// What runs, and what an update of everything would do. Changes nothing.
    ///
    /// # Errors
    /// Where the containers or the ledger cannot be read at all.
    pub async fn survey(&self) -> Result<Surveyed, Error> {
        Ok(self.updater.check(&[]).await?)
    }

    /// Updates everything, and says what ran before.
    ///
    /// # Errors
    /// As [`Api::update`].
    pub async fn update_all(&self) -> Result<(Vec<Container>, Report), Error> {
        let lock = self.lock()?;
        let (report, before) = self.updater.update_and_tell(&[], Trigger::Manual).await?;
        drop(lock);
        self.tell().await;
        let before = match before.is_empty() {
            true => self.inventory().await?.containers,
            false => before,
        };
        Ok((before, report))
    }
}

impl<W: World<Ledger: AsRef<Ledger>>> Api for Pass<W> {
    async fn check(&self) -> Result<Checked, Error> {
        let Surveyed { plan, containers, .. } = self.updater.check(&[]).await?;
        let not_running = self.join(&containers, not_running).await?;
        let waiting = self.join(&containers, waiting).await?;
        Ok(Checked { plan, not_running, waiting })
    }

    async fn update(&self, units: &[UnitName], trigger: Trigger) -> Result<Report, Error> {
        let lock = self.lock()?;
        let report = self.updater.update(units, trigger).await?;
        drop(lock);
        self.tell().await;
        Ok(report)
    }

    async fn roll_back(&self, units: &[UnitName], to: Option<&str>) -> Result<Report, Error> {
        let lock = self.lock()?;
        let report = self.updater.roll_back(units, to, || self.entries(usize::MAX)).await?;
        drop(lock);
        self.tell().await;
        Ok(report)
    }

    async fn units(&self) -> Result<Vec<UnitStatus>, Error> {
        let inventory = self.inventory().await?;
        let mut units = self.join(&inventory.containers, statuses).await?;
        units.extend(inventory.problems.iter().map(unknown));
        Ok(units)
    }

    async fn registries(&self) -> Result<Vec<RegistryStatus>, Error> {
        let containers = self.inventory().await?.containers;
        let hosts = self.updater.hosts(containers.iter().map(|container| &container.source)).await;
        let memory = self.ledger().memory()?;
        let reserve = self.updater.options().pull_reserve;
        let now = self.updater.world().clock().now();
        Ok(hosts::statuses(&containers, &hosts, &memory, reserve, now))
    }

    async fn history(&self, query: &HistoryQuery) -> Result<Vec<Entry>, Error> {
        let asked = |entry: &Entry| query.matches(entry);
        let found = self.ledger().history(query.limit, asked).map_err(failed)?;
        let History { mut entries, damaged } = found;
        for line in damaged {
            tracing::warn!(target: "updaterd", "left out of the history: {}", chain(&line));
        }
        entries.reverse();
        Ok(entries)
    }

    async fn quarantine(&self) -> Result<Vec<Held>, Error> {
        let after = self.updater.options().quarantine_expiry;
        let now = self.updater.world().clock().now();
        let held = self.ledger().quarantine().map_err(failed)?.in_force(now, after);
        let held = held.iter().cloned();
        Ok(held.map(|image| Held { expires: image.ends(after), image }).collect())
    }

    async fn hold(&self, units: &[UnitName], hold: &Holding) -> Result<Hold, Error> {
        let now = self.updater.world().clock().now();
        if let Some(until) = hold.until.filter(|until| *until <= now) {
            return Err(Error::InvalidArguments(format!("{until:.0} is over: hold until later")));
        }
        for unit in units {
            if !self.updater.world().manager().state(unit).await?.is_there {
                let message = format!(
                    "systemd has no unit {unit}: \"updaterctl status\" lists those \
                                       that are kept up to date"
                );
                return Err(Error::Failed(message));
            }
        }
        let hold = Hold { since: now, until: hold.until, reason: excerpt(&hold.reason) };
        let held = |holds: &mut Holds| {
            holds.drop_over(now);
            units.iter().for_each(|unit| holds.set(unit.clone(), hold.clone()));
        };
        self.ledger().change_holds(held).map_err(failed)?;
        Ok(hold)
    }

    async fn unhold(&self, units: &[UnitName]) -> Result<Vec<UnitName>, Error> {
        let now = self.updater.world().clock().now();
        let ends = |unit: &UnitName| units.is_empty() || units.contains(unit);
        self.ledger().change_holds(|holds| holds.end(now, ends)).map_err(failed)
    }

    async fn approve(
        &self,
        units: &[UnitName],
        digest: Option<&str>,
    ) -> Result<Vec<Approval>, Error> {
        let now = self.updater.world().clock().now();
        let containers = self.inventory().await?.containers;
        let gates = self.updater.gates(&containers, &[], &self.ledger().memory()?)?;
        let is_meant = |approval: &Approval| {
            (units.is_empty() || units.contains(&approval.unit))
                && digest.is_none_or(|digest| begins(digest, &approval.manifest))
        };
        let wanted = gates.unapproved(&containers, now).into_iter().filter(is_meant);
        let wanted: Vec<Approval> = wanted.collect();
        let add = |approvals: &mut Approvals| {
            wanted.into_iter().filter(|wanted| approvals.add(wanted.clone())).collect()
        };
        self.ledger().change_approvals(add).map_err(failed)
    }

    async fn clear_quarantine(&self, what: Option<&str>) -> Result<Vec<Quarantined>, Error> {
        let _lock = self.lock()?;
        self.ledger()
            .clear_quarantine(|held| what.is_none_or(|what| names(what, held)))
            .map_err(failed)
    }
}

/// Whether `what`, as a person wrote it, names the quarantined image: by its repository, its
/// digest, or the beginning of that; or one that was new beside it.
fn names(what: &str, held: &Quarantined) -> bool {
    let is_named =
        |repository: &str, manifest: &Digest| repository == what || begins(what, manifest);
    let mut beside = held.beside.iter().filter(|beside| beside.new);
    is_named(&held.repository, &held.manifest)
        || beside.any(|beside| is_named(&beside.repository, &beside.manifest))
}

/// Whether `what` is a digest, or the beginning of it.
fn begins(what: &str, manifest: &Digest) -> bool {
    let digits = what.strip_prefix("sha256:").unwrap_or(what);
    digits.len() >= DIGITS && manifest.hex().starts_with(digits)
}

impl<W: World<Ledger: AsRef<Ledger>>> Work for Pass<W> {
    async fn recover(&self) -> Result<Report, Error> {
        // Without anything that waits for its end, and with all of it whole, there is nothing to lock
        // for.
        let ledger = self.ledger();
        let is_whole = ledger.damage().map_err(failed)?.is_empty();
        let over = ledger.in_flight().map_err(failed)?.is_empty()
            && ledger.probations().map_err(failed)?.is_empty();
        if is_whole && over {
            return Ok(Report::default());
        }
        let lock = self.lock()?;
        let report = self.updater.recover().await?;
        drop(lock);
        self.tell().await;
        Ok(report)
    }

    async fn next_run(&self) {
        // What cannot be read the next pass tells of.
        let held = self.ledger().probations().unwrap_or_default();
        let units: Vec<UnitName> = held.into_iter().map(|held| held.unit).collect();
        match units.is_empty() {
            true => pending().await,
            false => self.updater.world().manager().job_ended(&units).await,
        }
    }
}

#[cfg(test)]
mod tests;
