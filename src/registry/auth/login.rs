//! Whether a credential is any good: found out by one request, not by a hundred, because
//! registries lock out whom they see fail too often.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::registry::error::{Denial, Problem};
use crate::registry::gate::{Gate, lock};

/// How long rejected credentials are not tried again: longer than a pass takes, shorter than the
/// time between two.
const REJECTED_FOR: Duration = Duration::from_secs(120);

/// One credential at one place that judges it: a realm, or a registry with Basic authentication.
#[derive(Debug, Default)]
pub(crate) struct Login {
    gate: Gate,
    verdict: Mutex<Verdict>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    #[default]
    Unknown,
    Accepted,
    Rejected(Instant),
}

impl Login {
    /// Makes `request`, which uses the credential: alone until the credential is known to be
    /// good, as an answer that `accepts` says. Without a request where it was rejected a short while
    /// ago.
    pub(crate) async fn attempt<T>(
        &self,
        peer: &str,
        request: impl Future<Output = Result<T, Problem>>,
        accepts: impl FnOnce(&T) -> bool,
    ) -> Result<T, Problem> {
        let pass = self.gate.enter(|| self.judged() != Verdict::Unknown).await?;
        if let Verdict::Rejected(_) = self.judged() {
            let why = Denial::RejectedBefore;
            return Err(Problem::Unauthorized { peer: peer.to_owned(), why, detail: None });
        }
        let result = request.await;
        match &result {
            Ok(answer) if accepts(answer) => *lock(&self.verdict) = Verdict::Accepted,
            Ok(_) => {}
            Err(Problem::Unauthorized { why: Denial::Rejected, .. }) => {
                let mut verdict = lock(&self.verdict);
                // What was good until now may be refused for this one image only: the next request
                // goes alone and tells.
                *verdict = match *verdict {
                    Verdict::Accepted => Verdict::Unknown,
                    _ => Verdict::Rejected(Instant::now()),
                };
            }
            Err(problem) if pass.is_some() => self.gate.fail(problem),
            Err(_) => {}
        }
        result
    }

    fn judged(&self) -> Verdict {
        match *lock(&self.verdict) {
            Verdict::Rejected(at) if at.elapsed() >= REJECTED_FOR => Verdict::Unknown,
            verdict => verdict,
        }
    }
}
