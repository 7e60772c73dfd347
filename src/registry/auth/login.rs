//! Whether a credential is any good: found out by one request, not by a hundred, because
//! registries lock out whom they see fail too often.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::credentials::Credential;
use super::rejections::Rejections;
use crate::registry::error::{Denial, Problem};
use crate::registry::gate::{Gate, lock};

/// How long rejected credentials are not tried again, unless they change. No registry locks out whom it
/// sees fail once a day; and one whose directory of users was down is asked again by itself.
const REJECTED_FOR: Duration = Duration::from_secs(24 * 3600);

/// The same, where nobody said that they are wrong: access may be granted at any time.
const REFUSED_FOR: Duration = Duration::from_secs(3600);

/// Refusals (403) of different scopes, without any acceptance, after which the credential counts as
/// rejected: some realms say so instead of 401, and of one image alone it can be true.
const REFUSED_AT: usize = 3;

/// One credential at one place that judges it: a realm, or a registry with Basic authentication.
#[derive(Debug, Default)]
pub(crate) struct Login {
    gate: Gate,
    verdict: Mutex<Verdict>,
    /// Scopes that were refused while nothing is known of the credential.
    refused: Mutex<HashSet<String>>,
}

/// What a credential is used for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    /// In messages.
    pub(crate) peer: &'a str,
    /// Who judges.
    pub(crate) place: &'a str,
    /// What other processes have found out.
    pub(crate) rejections: &'a Rejections,
    pub(crate) scope: &'a str,
    pub(crate) credential: &'a Credential,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    #[default]
    Unknown,
    Accepted,
    /// Until then.
    Rejected(Instant),
}

impl Attempt<'_> {
    fn rejected(&self, rest: Duration) -> Verdict {
        self.rejections.keep(self.place, self.credential, rest);
        Verdict::Rejected(Instant::now() + rest)
    }
}

impl Login {
    /// Makes `request`, which uses the credential: alone until the credential is known
    /// to be good, as an answer that `accepts` says. Without a request where it was rejected before, by
    /// this process or another.
    pub(crate) async fn attempt<T>(
        &self,
        attempt: Attempt<'_>,
        request: impl Future<Output = Result<T, Problem>>,
        accepts: impl FnOnce(&T) -> bool,
    ) -> Result<T, Problem> {
        let pass = self.gate.enter(|| self.judged() != Verdict::Unknown).await?;
        if pass.is_some()
            && let Some(rest) = attempt.rejections.rest(attempt.place, attempt.credential)
        {
            *lock(&self.verdict) = Verdict::Rejected(Instant::now() + rest);
        }
        if let Verdict::Rejected(_) = self.judged() {
            let why = Denial::RejectedBefore;
            let credentials = Some(attempt.credential.origin.clone());
            let peer = attempt.peer.to_owned();
            return Err(Problem::Unauthorized { peer, why, credentials, detail: None });
        }
        let result = request.await;
        match &result {
            Ok(answer) if accepts(answer) => {
                lock(&self.refused).clear();
                *lock(&self.verdict) = Verdict::Accepted;
            }
            Ok(_) => {}
            Err(Problem::Unauthorized { why: Denial::Rejected, .. }) => {
                let mut verdict = lock(&self.verdict);
                // What was good until now may be refused for this one image only: the next request
                // goes alone and tells.
                *verdict = match *verdict {
                    Verdict::Accepted => Verdict::Unknown,
                    _ => attempt.rejected(REJECTED_FOR),
                };
            }
            Err(Problem::Status { status: StatusCode::FORBIDDEN, .. }) => self.refuse(&attempt),
            Err(problem) if pass.is_some() => self.gate.fail(problem, Duration::ZERO),
            Err(_) => {}
        }
        result
    }

    /// Notes a refusal that may be for the one scope only.
    fn refuse(&self, attempt: &Attempt<'_>) {
        let mut verdict = lock(&self.verdict);
        let mut refused = lock(&self.refused);
        if *verdict == Verdict::Accepted {
            return;
        }
        refused.insert(attempt.scope.to_owned());
        if refused.len() >= REFUSED_AT {
            refused.clear();
            *verdict = attempt.rejected(REFUSED_FOR);
        }
    }

    fn judged(&self) -> Verdict {
        match *lock(&self.verdict) {
            Verdict::Rejected(until) if until <= Instant::now() => Verdict::Unknown,
            verdict => verdict,
        }
    }
}
