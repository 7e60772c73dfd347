//! How every registry's host stands: what the containers use joined with what passes remember. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::api::{RegistryState, RegistryStatus};
use crate::model::{Container, FailureKind, ImageSource, Policy};
use crate::plan::Memory;
use crate::plan::decide::wants_check;
use crate::plan::registries::Registry;
use crate::update::Hosts;

/// One status for each host that a container's image is checked at, and each that passes remember,
/// by name. `reserve` is what is kept back of a limit on pulls, in percent.
pub(super) fn statuses(
    containers: &[Container],
    hosts: &Hosts,
    memory: &Memory,
    reserve: u8,
    now: Timestamp,
) -> Vec<RegistryStatus> {
    let followed =
        containers.iter().filter(|container| wants_check(container) == Some(Policy::Registry));
    let mut images: BTreeMap<&str, BTreeSet<&ImageSource>> = BTreeMap::new();
    for Container { source, .. } in followed {
        if let Some(host) = hosts.of(source) {
            images.entry(host).or_default().insert(source);
        }
    }
    for host in memory.registries.names() {
        images.entry(host).or_default();
    }
    let status = |(host, images): (&str, BTreeSet<_>)| {
        let known = memory.registries.get(host);
        let state = state(known, reserve, now);
        RegistryStatus {
            registry: host.to_owned(),
            state,
            images: images.len(),
            budget: known.and_then(|known| known.budget.clone()),
            last_failure: known.and_then(|known| known.last_failure.clone()),
            next_try: next_try(known, state).filter(|next| *next > now),
        }
    };
    images.into_iter().map(status).collect()
}

fn state(known: Option<&Registry>, reserve: u8, now: Timestamp) -> RegistryState {
    let Some(known) = known else { return RegistryState::NotAsked };
    if let Some(backoff) = &known.backoff {
        return match backoff.failure.kind {
            FailureKind::RateLimited(_) => RegistryState::RateLimited,
            _ => RegistryState::Unreachable,
        };
    }
    match known.budget.as_ref().and_then(|budget| budget.left(reserve, now)) {
        Some(0) => RegistryState::BudgetSpent,
        _ => RegistryState::Answering,
    }
}

fn next_try(known: Option<&Registry>, state: RegistryState) -> Option<Timestamp> {
    match state {
        RegistryState::Unreachable | RegistryState::RateLimited => {
            Some(known?.backoff.as_ref()?.until)
        }
        RegistryState::BudgetSpent => Some(known?.budget.as_ref()?.renewed()),
        RegistryState::Answering | RegistryState::NotAsked => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Failure;
    use crate::plan::registries::{Moment, Reply};
    use crate::plan::{Budget, Registries};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn all(memory: &Memory, now: i64) -> Vec<RegistryStatus> {
        statuses(&[], &Hosts::default(), memory, 10, at(now))
    }

    fn failing(kind: FailureKind) -> Memory {
        let reference = "registry.example/app:1".parse().unwrap();
        let source = ImageSource { reference, authfile: None };
        let failure = Failure::new(kind, "no route to host");
        let reply =
            Reply { source: &source, host: Some("registry.example"), failure: Some(&failure) };
        let backoff_max = std::time::Duration::from_secs(3600);
        let mut memory = Memory::default();
        let moment = Moment { now: at(0), backoff_max, random: 1.0 };
        memory.remember(&Memory::default(), &[reply], moment);
        memory
    }

    #[test]
    fn a_host_that_fails_says_how_and_until_when() {
        let limited = FailureKind::RateLimited(Some(std::time::Duration::from_secs(300)));
        for (kind, state, next) in [
            (FailureKind::Unreachable, RegistryState::Unreachable, 60),
            (limited, RegistryState::RateLimited, 360),
        ] {
            let memory = failing(kind);
            let [status] = &all(&memory, 1)[..] else { panic!("one host") };
            assert_eq!((status.state, status.next_try), (state, Some(at(next))));
            assert_eq!(status.last_failure.as_ref().unwrap().failure.message, "no route to host");
            assert_eq!(all(&memory, next)[0].next_try, None, "the next check asks it");
        }
    }

    #[test]
    fn a_budget_is_spent_where_only_the_reserve_is_left() {
        for (remaining, state) in [
            (11, RegistryState::Answering),
            (10, RegistryState::BudgetSpent),
            (0, RegistryState::BudgetSpent),
        ] {
            let mut memory = Memory::default();
            let budget =
                Budget { limit: 100, remaining, window: 600, counted_for: None, seen: at(0) };
            memory.registries.heard("registry.example", budget);
            assert_eq!(all(&memory, 599)[0].state, state);
            assert_eq!(all(&memory, 600)[0].state, RegistryState::Answering);
        }
    }

    #[test]
    fn nothing_asked_is_nothing_known() {
        assert_eq!(state(None, 10, at(0)), RegistryState::NotAsked);
        assert_eq!(Registries::default().names().count(), 0);
        assert_eq!(all(&Memory::default(), 0), []);
    }
}
