//! Discover and check: what runs, and what each reference stands for now.

use std::collections::BTreeMap;

use super::ask::Answer;
use super::port::{Clock, Engine, Ledger, Registry, World};
use super::updater::Updater;
use crate::model::{Container, Failure, FailureKind, ImageSource, Policy, UnitName};
use crate::plan::decide::wants_check;
use crate::plan::{Available, Backoff, Input, Memory, Plan, PutOffs, decide};

/// What runs, and what would be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    pub plan: Plan,
    pub containers: Vec<Container>,
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
        let chosen: Vec<&Container> = inventory
            .containers
            .iter()
            .filter(|c| selection.is_empty() || c.unit.iter().any(|unit| selection.contains(unit)))
            .collect();
        let before = memory.clone();
        self.world.registry().begin_pass();
        let mut answers = self.ask(&chosen, asked_by_person, memory).await;
        self.identify(&chosen, &mut answers, memory).await;
        for (source, answer) in &answers {
            if let Answer::Failed(failure) = answer {
                // The next pass is not to ask again at once.
                self.remember_failure(memory, &before, source, failure);
            }
        }
        let mut available = BTreeMap::new();
        for container in chosen {
            let found = self.availability(container, &answers, memory).await;
            if let Some(found) = found {
                available.insert(container.id.clone(), found);
            }
        }
        memory.retain_sources(inventory.containers.iter().map(|container| &container.source));
        let containers = &inventory.containers;
        // A person is not kept waiting for what is not known to be bad.
        let nothing = PutOffs::default();
        let put_offs = if asked_by_person { &nothing } else { &memory.put_offs };
        let input = Input {
            containers,
            bystanders: &inventory.bystanders,
            available: &available,
            quarantine: &quarantine,
            put_offs,
            selection,
            now,
        };
        let damage = self.world.ledger().damage()?.into_iter();
        let mut problems = inventory.problems;
        problems.extend(damage.map(|damage| Failure::new(FailureKind::Local, damage)));
        let plan = Plan { problems, asking: inventory.asking, ..decide(&input) };
        Ok(Surveyed { plan, containers: inventory.containers })
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
            Answer::Target(target) if container.runs(target) => {
                Some(Available::Image(container.image.clone()))
            }
            // Learnt before, or the answer would be the failure.
            Answer::Target(target) => {
                let platform = &container.image.platform;
                let image = memory.identity(&container.source.reference, target, platform);
                image.cloned().map(Available::Image)
            }
        }
    }

    /// `before` has the failures in a row, which an answer to the first question has forgotten.
    fn remember_failure(
        &self,
        memory: &mut Memory,
        before: &Memory,
        source: &ImageSource,
        failure: &Failure,
    ) {
        let (now, max) = (self.world.clock().now(), self.options.backoff_max);
        memory.failed(source, Backoff::after(before.backoff(source), failure.clone(), now, max));
    }
}
