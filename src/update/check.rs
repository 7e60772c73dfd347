//! Discover and check: what runs, and what each reference stands for now.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::ask::Answer;
use super::port::{Clock, Engine, Ledger, Registry, World};
use super::updater::Updater;
use crate::model::{
    Container, ContainerId, Failure, FailureKind, ImageIdentity, ImageSource, Policy, Reference,
    Rules, UnitName, Window,
};
use crate::plan::decide::wants_check;
use crate::plan::gate::UnitRules;
use crate::plan::registries::{Moment, Reply};
use crate::plan::{Available, Gates, Groups, Input, Memory, Plan, PutOffs, decide};

/// What runs, and what would be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    pub plan: Plan,
    pub containers: Vec<Container>,
    /// What keeps units from images.
    pub gates: Gates,
}

impl<W: World> Updater<W> {
    /// Discovers, checks and plans. `memory` learns; whether it is kept is the caller's choice.
    pub(super) async fn survey(
        &self,
        selection: &[UnitName],
        asked_by_person: bool,
        memory: &mut Memory,
    ) -> Result<Surveyed, Failure> {
        let inventory = self.world.inventory().await?;
        let now = self.world.clock().now();
        let quarantine = self.world.ledger().quarantine()?;
        let quarantine = quarantine.in_force(now, self.options.quarantine_expiry);
        let groups = Groups::new(&self.options.groups(), &inventory.containers);
        let selection = &groups.complete(selection)[..];
        let named = if asked_by_person { selection } else { &[] };
        let chosen: Vec<&Container> = inventory
            .containers
            .iter()
            .filter(|c| selection.is_empty() || c.unit.iter().any(|unit| selection.contains(unit)))
            .collect();
        let before = memory.clone();
        self.world.registry().begin_pass();
        let hosts = self.hosts(inventory.containers.iter().map(|it| &it.source)).await;
        let mut answers = self.ask(&chosen, asked_by_person, &hosts, memory).await;
        self.learn_budgets(&hosts, memory);
        let manner = (asked_by_person, &quarantine);
        self.ration(&chosen, manner, &mut answers, &hosts, memory);
        self.identify(&chosen, &mut answers, &hosts, memory).await;
        self.learn_budgets(&hosts, memory);
        // The next pass is not to ask again at once.
        let replies: Vec<Reply<'_>> = answers
            .iter()
            .filter_map(|(source, answer)| {
                let failure = match answer {
                    Answer::Held(_) => return None,
                    Answer::Target(_) | Answer::Spent(..) => None,
                    Answer::Failed(failure) => Some(failure),
                };
                Some(Reply { source, host: hosts.of(source), failure })
            })
            .collect();
        memory.remember(&before, &replies, self.moment());
        let mut available = BTreeMap::new();
        for container in chosen {
            let found = self.availability(container, &answers, memory).await;
            if let Some(found) = found {
                available.insert(container.id.clone(), found);
            }
        }
        note_seen(&inventory.containers, &available, memory, now);
        memory.retain_sources(inventory.containers.iter().map(|container| &container.source));
        memory.registries.retain(|host| hosts.has(host));
        let containers = &inventory.containers;
        // A person is not kept waiting for what is not known to be bad.
        let nothing = PutOffs::default();
        let put_offs = if asked_by_person { &nothing } else { &memory.put_offs };
        let probations = self.world.ledger().probations()?;
        let gates = self.gates(&inventory.containers, named, memory)?;
        let input = Input {
            containers,
            bystanders: &inventory.bystanders,
            available: &available,
            quarantine: &quarantine,
            groups: &groups,
            put_offs,
            gates: &gates,
            probations: &probations,
            selection,
            now,
        };
        let damage = self.world.ledger().damage()?.into_iter();
        let mut problems = inventory.problems;
        problems.extend(damage.map(|damage| Failure::new(FailureKind::Local, damage)));
        let plan = Plan { problems, asking: inventory.asking, ..decide(&input) };
        Ok(Surveyed { plan, containers: inventory.containers, gates })
    }

    /// What keeps units from images; those that a person `named` wait for less.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn gates(
        &self,
        containers: &[Container],
        named: &[UnitName],
        memory: &Memory,
    ) -> Result<Gates, Failure> {
        let units: BTreeSet<&UnitName> =
            containers.iter().filter_map(|container| container.unit.as_ref()).collect();
        let ready = |unit: &UnitName| {
            let Rules { mode, windows, cooldown } = self.options.rules(unit);
            let placed = |window: Window| {
                let zone = self.world.clock().zone(window.calendar.zone());
                (window, zone)
            };
            UnitRules {
                mode: mode.unwrap_or_default(),
                windows: windows.unwrap_or_default().into_iter().map(placed).collect(),
                cooldown: cooldown.unwrap_or_default(),
            }
        };
        Ok(Gates {
            holds: self.world.ledger().holds()?,
            approvals: self.world.ledger().approvals()?,
            seen: memory.seen.clone(),
            rules: units.into_iter().map(|unit| (unit.clone(), ready(unit))).collect(),
            named: named.iter().cloned().collect(),
        })
    }

    /// What is available for one container; `None` where its policy asks nobody.
    async fn availability(
        &self,
        container: &Container,
        answers: &BTreeMap<ImageSource, Answer>,
        memory: &Memory,
    ) -> Option<Available> {
        if wants_check(container)? == Policy::Local {
            let found = match self.world.engine(container.engine) {
                Ok(engine) => engine.local(&container.source.reference).await,
                Err(failure) => Err(failure),
            };
            return Some(match found {
                Ok(Some(image)) => Available::Image(image),
                Ok(None) => Available::NotInStorage,
                Err(failure) => Available::Failed(failure),
            });
        }
        match answers.get(&container.source)? {
            Answer::Failed(failure) => Some(Available::Failed(failure.clone())),
            Answer::Held(held) => {
                Some(Available::CoolingDown { until: held.until, failure: held.failure.clone() })
            }
            Answer::Target(target) | Answer::Spent(target, _) if container.runs(target) => {
                Some(Available::Image(container.image.clone()))
            }
            Answer::Spent(_, spent) => Some(Available::BudgetSpent(spent.clone())),
            // Learnt before, or the answer would be the failure.
            Answer::Target(target) => {
                let platform = &container.image.platform;
                let image = memory.identity(&container.source.reference, target, platform);
                image.cloned().map(Available::Image)
            }
        }
    }

    /// Now, as the memory of failures wants it.
    pub(super) fn moment(&self) -> Moment {
        let clock = self.world.clock();
        let backoff_max = self.options.backoff_max;
        Moment { now: clock.now(), backoff_max, random: clock.random() }
    }
}

/// Remembers what references stand for that not all who follow them run.
fn note_seen(
    containers: &[Container],
    available: &BTreeMap<ContainerId, Available>,
    memory: &mut Memory,
    now: Timestamp,
) {
    let mut found: BTreeMap<&Reference, Vec<&ImageIdentity>> = BTreeMap::new();
    for container in containers {
        let reference = &container.source.reference;
        if let Some(Available::Image(image)) = available.get(&container.id) {
            found.entry(reference).or_default().push(image);
        }
    }
    for (reference, mut images) in found {
        let lacks = |image: &&ImageIdentity| {
            containers.iter().any(|container| {
                &container.source.reference == reference
                    && container.image.platform == image.platform
                    && !container.runs(&image.manifest)
            })
        };
        images.retain(lacks);
        memory.seen.note(reference, &images, now);
    }
    let is_used = |reference: &Reference| {
        containers.iter().any(|container| &container.source.reference == reference)
    };
    memory.seen.forget(now, is_used);
}
