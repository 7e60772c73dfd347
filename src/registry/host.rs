//! What is known of one registry host: plain HTTP or TLS, and how it wants to be authenticated to.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;

use super::auth::challenge::{Bearer, Challenge};
use super::error::Problem;
use super::gate::{Gate, Pass, lock};
use super::quota;
use crate::model::FailureKind;
use crate::update::port::Budget;

/// How long an unused connection is kept, and therefore how long after its last answer a host may
/// be asked by many at once without each of them opening a connection.
pub(super) const WARM: Duration = Duration::from_secs(60);

/// How long a host is left alone that could not be reached, or says that it is asked too much, unless
/// a pass begins: everything that one pass asks of it fails with the first.
const REST: Duration = Duration::from_secs(60);

/// So many requests within [`REST`] are sent once more after a failure that may pass: what fails more often
/// than now and then would only be asked twice as much.
const FORGIVEN: u32 = 4;

/// A registry's host, as all requests of one client share it.
#[derive(Debug)]
pub(super) struct Host {
    /// `HOST` or `HOST:PORT` as connected to.
    pub(super) authority: String,
    /// The registry as images name it, which is also the name of its certificates.
    pub(super) registry: String,
    pub(super) insecure: bool,
    gate: Gate,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    plain_http: bool,
    answered: Option<Instant>,
    budget: Option<Budget>,
    /// Since when failures are counted, and how many were forgiven.
    forgiven: Option<(Instant, u32)>,
    challenge: Option<Challenge>,
    /// Challenges of repositories that want something else than the one asked first.
    challenges: HashMap<String, Challenge>,
    /// Scopes that the host asked for where the usual one was not enough, by repository.
    scopes: HashMap<String, String>,
}

impl Host {
    pub(super) fn new(registry: &str, authority: &str, insecure: bool) -> Self {
        Self {
            authority: authority.to_owned(),
            registry: registry.to_owned(),
            insecure,
            gate: Gate::default(),
            known: Mutex::default(),
        }
    }

    /// The first request to a host that was not heard of lately goes alone; see [`Gate::enter`].
    pub(super) async fn enter(&self) -> Result<Option<Pass<'_>>, Problem> {
        self.gate.enter(|| lock(&self.known).answered.is_some_and(|at| at.elapsed() < WARM)).await
    }

    /// Notes that the host answered.
    pub(super) fn answered(&self) {
        lock(&self.known).answered = Some(Instant::now());
        self.gate.reached();
    }

    /// Notes what an answer of the host says of its limit on pulls.
    pub(super) fn note_budget(&self, headers: &HeaderMap) {
        if let Some(budget) = quota::budget(headers, jiff::Timestamp::now()) {
            lock(&self.known).budget = Some(budget);
        }
    }

    /// What it said last of its limit on pulls.
    pub(super) fn budget(&self) -> Option<Budget> {
        lock(&self.known).budget.clone()
    }

    /// Notes that the host was not reached, or is asked too much: those who wait, and those who come
    /// for a while, fail with it. What else may have failed is only the request's own.
    pub(super) fn failed(&self, problem: &Problem) {
        if problem.is_of_all() {
            lock(&self.known).answered = None;
            let rest = match problem.kind() {
                FailureKind::RateLimited(Some(asked)) => asked.min(REST),
                _ => REST,
            };
            self.gate.fail(problem, rest);
        }
    }

    /// Whether another failure that may pass is forgiven now; it is counted.
    pub(super) fn bears(&self) -> bool {
        let mut known = lock(&self.known);
        let recent = known.forgiven.filter(|(since, _)| since.elapsed() < REST);
        let (since, count) = recent.unwrap_or_else(|| (Instant::now(), 0));
        known.forgiven = Some((since, count + 1));
        count < FORGIVEN
    }

    /// Whatever was learnt of a failure is forgotten: the next request finds out again, alone.
    pub(super) fn try_again(&self) {
        self.gate.end_rest();
    }

    pub(super) fn scheme(&self) -> &'static str {
        if lock(&self.known).plain_http { "http" } else { "https" }
    }

    /// Whether plain HTTP is spoken from now on. Only to a registry declared insecure.
    pub(super) fn use_plain_http(&self, plain: bool) {
        lock(&self.known).plain_http = plain && self.insecure;
    }

    /// What the host is known to want for `repository`.
    pub(super) fn challenge(&self, repository: &str) -> Option<Challenge> {
        let known = lock(&self.known);
        known.challenges.get(repository).or(known.challenge.as_ref()).cloned()
    }

    pub(super) fn learn(&self, repository: &str, challenge: &Challenge) {
        let mut known = lock(&self.known);
        known.challenges.remove(repository);
        match &known.challenge {
            None => known.challenge = Some(challenge.clone()),
            Some(usual) if usual.is_like(challenge) => {}
            Some(_) => {
                known.challenges.insert(repository.to_owned(), challenge.clone());
            }
        }
    }

    /// Drops `challenge`, which has led nowhere, so that the host is asked what it wants.
    pub(super) fn forget(&self, repository: &str, challenge: &Challenge) {
        let mut known = lock(&self.known);
        known.challenges.remove(repository);
        if known.challenge.as_ref().is_some_and(|usual| usual.is_like(challenge)) {
            known.challenge = None;
        }
    }

    /// The scope to ask a token for to pull from `repository`.
    pub(super) fn scope(&self, repository: &str) -> String {
        let known = lock(&self.known).scopes.get(repository).cloned();
        known.unwrap_or_else(|| match repository {
            "" => String::new(),
            repository => format!("repository:{repository}:pull"),
        })
    }

    /// Notes the scope the host asks for; false where it is the one that was used already.
    pub(super) fn learn_scope(&self, repository: &str, bearer: &Bearer) -> bool {
        let Some(scope) = &bearer.scope else { return false };
        if *scope == self.scope(repository) {
            return false;
        }
        lock(&self.known).scopes.insert(repository.to_owned(), scope.clone());
        true
    }
}
