//! Discover and check: what runs, and what each reference stands for now.

use std::collections::BTreeMap;

use super::ask::Answer;
use super::port::{Clock, Engine, Ledger, Registry, World};
use super::updater::Updater;
use crate::model::{Container, Failure, FailureKind, ImageSource, Policy, UnitName};
use crate::plan::decide::wants_check;
use crate::plan::registries::{Moment, Reply};
use crate::plan::{Available, Groups, Input, Memory, Plan, PutOffs, decide};

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
        let groups = Groups::new(&self.options.groups(), &inventory.containers);
        let selection = &groups.complete(selection)[..];
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
        memory.retain_sources(inventory.containers.iter().map(|container| &container.source));
        memory.registries.retain(|host| hosts.has(host));
        let containers = &inventory.containers;
        // A person is not kept waiting for what is not known to be bad.
        let nothing = PutOffs::default();
        let put_offs = if asked_by_person { &nothing } else { &memory.put_offs };
        let probations = self.world.ledger().probations()?;
        let input = Input {
            containers,
            bystanders: &inventory.bystanders,
            available: &available,
            quarantine: &quarantine,
            groups: &groups,
            put_offs,
            probations: &probations,
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
