//! What is known of registries' hosts from one check to the next.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Backoff, Budget, Memory};
use crate::model::{Failure, FailureKind, ImageSource};

/// The hosts that have been asked, by the names that images give them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Registries {
    hosts: BTreeMap<String, Registry>,
}

/// One host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registry {
    /// The host as a whole failed when it was asked last: nothing of it is asked before the time.
    pub backoff: Option<Backoff>,
    /// The last failure of its own, also where it has answered since.
    pub last_failure: Option<LastFailure>,
    /// What it said last of its limit on pulls.
    pub budget: Option<Budget>,
}

/// A failure of a host, and when it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    pub at: Timestamp,
    pub failure: Failure,
}

impl Registries {
    pub fn get(&self, host: &str) -> Option<&Registry> {
        self.hosts.get(host)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
    }

    pub fn backoff(&self, host: &str) -> Option<&Backoff> {
        self.get(host)?.backoff.as_ref()
    }

    pub fn budget(&self, host: &str) -> Option<&Budget> {
        self.get(host)?.budget.as_ref()
    }

    /// Keeps what a host said of its limit.
    pub fn heard(&mut self, host: &str, budget: Budget) {
        self.host(host).budget = Some(budget);
    }

    /// Forgets hosts that no container's image is of.
    pub fn retain(&mut self, used: impl Fn(&str) -> bool) {
        self.hosts.retain(|host, _| used(host));
    }

    fn host(&mut self, host: &str) -> &mut Registry {
        self.hosts.entry(host.to_owned()).or_default()
    }
}

/// What came of one question.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    pub source: &'a ImageSource,
    /// `None` where it is not known which would be asked.
    pub host: Option<&'a str>,
    pub failure: Option<&'a Failure>,
}

/// When it came, and how a wait is chosen ([`Backoff::after`]).
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Timestamp,
    pub backoff_max: std::time::Duration,
    pub random: f64,
}

impl Memory {
    /// Keeps what came of the questions of a pass, or of its pulls. What fails for want of an answer, or
    /// because too much is asked, is the host's failure and holds all of its images; any other is of the
    /// one image. `before` has the failures in a row.
    pub fn remember(&mut self, before: &Memory, replies: &[Reply<'_>], moment: Moment) {
        let next = |previous: Option<&Backoff>, failure: &Failure| {
            let Moment { now, backoff_max, random } = moment;
            Backoff::after(previous, failure.clone(), now, backoff_max, random)
        };
        let mut by_host: BTreeMap<&str, Vec<&Reply<'_>>> = BTreeMap::new();
        for reply in replies {
            if let Some(host) = reply.host {
                by_host.entry(host).or_default().push(reply);
            }
        }
        let failures: BTreeMap<&str, &Failure> = by_host
            .iter()
            .filter_map(|(host, replies)| Some((*host, failure_of_host(replies)?)))
            .collect();
        for host in by_host.keys() {
            let failure = failures.get(host);
            let backoff = failure.map(|failure| next(before.registries.backoff(host), failure));
            let known = self.registries.host(host);
            known.backoff = backoff;
            if let Some(failure) = failure {
                let failure = (*failure).clone();
                known.last_failure = Some(LastFailure { at: moment.now, failure });
            }
        }
        for Reply { source, host, failure } in replies {
            let of_host = host.and_then(|host| failures.get(host)).is_some();
            match failure {
                None => self.answered(source),
                Some(failure) if of_host && is_of_host(failure) => {}
                Some(failure) => self.failed(source, next(before.backoff(source), failure)),
            }
        }
    }

    /// What keeps `source` from being asked for at `now`.
    pub fn held(
        &self,
        source: &ImageSource,
        host: Option<&str>,
        now: Timestamp,
        asked_by_person: bool,
    ) -> Option<&Backoff> {
        let holds = |held: &&Backoff| held.holds(now, asked_by_person);
        let of_host = host.and_then(|host| self.registries.backoff(host));
        of_host.filter(holds).or_else(|| self.backoff(source).filter(holds))
    }
}

/// A host that says it is asked too much says so for all images, and the longest wait counts. One that
/// is silent is silent for all images, unless another one was answered.
fn failure_of_host<'a>(replies: &[&Reply<'a>]) -> Option<&'a Failure> {
    let failures = replies.iter().filter_map(|reply| reply.failure);
    let limited = failures.filter_map(|failure| match failure.kind {
        FailureKind::RateLimited(wait) => Some((wait, failure)),
        _ => None,
    });
    if let Some((_, failure)) = limited.max_by_key(|(wait, _)| *wait) {
        return Some(failure);
    }
    let silent = |reply: &&Reply<'_>| {
        reply.failure.is_some_and(|failure| failure.kind == FailureKind::Unreachable)
    };
    let is_silent = replies.iter().all(silent);
    replies.last().filter(|_| is_silent)?.failure
}

fn is_of_host(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Unreachable | FailureKind::RateLimited(_))
}

#[cfg(test)]
#[path = "registries_tests.rs"]
mod tests;
