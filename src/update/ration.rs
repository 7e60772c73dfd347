//! What a pass may spend at registries that count pulls.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Answer, Hosts};
use super::port::{Clock, Registry, World};
use super::updater::Updater;
use crate::model::{Container, Digest, ImageSource, Policy};
use crate::plan::decide::{Spent, wants_check};
use crate::plan::{Allowance, Memory, Quarantine};

impl<W: World> Updater<W> {
    /// Keeps what the hosts said of their limits.
    pub(super) fn learn_budgets(&self, hosts: &Hosts, memory: &mut Memory) {
        for host in hosts.names() {
            if let Some(budget) = self.world.registry().budget(host) {
                memory.registries.heard(host, budget);
            }
        }
    }

    /// Leaves alone what its host allows too few pulls for. A person may have those that are kept back.
    pub(super) fn ration(
        &self,
        containers: &[&Container],
        (asked_by_person, quarantine): (bool, &Quarantine),
        answers: &mut BTreeMap<ImageSource, Answer>,
        hosts: &Hosts,
        memory: &Memory,
    ) {
        let reserve = if asked_by_person { 0 } else { self.options.pull_reserve };
        let now = self.world.clock().now();
        let mut allowance = Allowance::new(&memory.registries, reserve, now);
        let mut counted = BTreeSet::new();
        for container in containers {
            let Container { source, image, .. } = container;
            let Some(Answer::Target(target)) = answers.get(source) else { continue };
            let Some(host) = hosts.of(source) else { continue };
            let pulls = pulls(container, target, quarantine, memory);
            if pulls == 0 || !counted.insert((source, &image.platform)) {
                continue;
            }
            if let Err(budget) = allowance.take(host, pulls) {
                let spent = Spent { registry: host.to_owned(), budget: budget.clone() };
                let spent = Answer::Spent(target.clone(), spent);
                answers.insert(source.clone(), spent);
            }
        }
    }
}

/// What it costs to bring `target` to a container: a look at the index behind it, where that is not
/// known, and the image.
fn pulls(container: &Container, target: &Digest, quarantine: &Quarantine, memory: &Memory) -> u64 {
    let reference = &container.source.reference;
    if wants_check(container) != Some(Policy::Registry) || container.runs(target) {
        return 0;
    }
    match memory.identity(reference, target, &container.image.platform) {
        None => 2,
        Some(image) if container.runs(&image.manifest) => 0,
        Some(image) if quarantine.find(reference, &image.manifest).is_some() => 0,
        Some(_) => 1,
    }
}
