//! A gate through which one request goes alone to learn something, while the others wait for what
//! it learns: the answer, or the failure, which is then theirs too, and, where the gate rests after
//! it (a circuit breaker), of those who come later.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::Problem;
use crate::model::FailureKind;

/// The gate. What is learnt is kept by its owner, who says when it is open.
#[derive(Debug, Default)]
pub(super) struct Gate {
    gate: tokio::sync::Mutex<()>,
    failed: Mutex<Option<Failed>>,
}

#[derive(Debug)]
struct Failed {
    at: Instant,
    /// Until then nobody goes first.
    until: Instant,
    problem: Problem,
}

/// The right to go first; held until something is learnt.
pub(super) type Pass<'a> = tokio::sync::MutexGuard<'a, ()>;

impl Gate {
    /// Returns at once, without a pass, where `open` says so; else waits for a turn. Whoever
    /// waited while another failed, or comes while the gate rests, gets that failure, so that a
    /// registry that is down costs one timeout, not one for each image.
    pub(super) async fn enter(&self, open: impl Fn() -> bool) -> Result<Option<Pass<'_>>, Problem> {
        if open() {
            return Ok(None);
        }
        let arrived = Instant::now();
        let pass = self.gate.lock().await;
        if open() {
            return Ok(None);
        }
        match &*lock(&self.failed) {
            Some(failed) if failed.at >= arrived || Instant::now() < failed.until => {
                Err(failed.problem.clone())
            }
            _ => Ok(Some(pass)),
        }
    }

    /// Tells those who wait that going first failed, and those who come within `rest`, where that is
    /// no fault of the one image or credential: nothing was reached.
    pub(super) fn fail(&self, problem: &Problem, rest: Duration) {
        if problem.kind() != FailureKind::Unreachable {
            return;
        }
        let at = Instant::now();
        let failed = Failed { at, until: at + rest, problem: problem.clone() };
        *lock(&self.failed) = Some(failed);
    }

    /// Ends the rest: the next one goes first again.
    pub(super) fn end_rest(&self) {
        if let Some(failed) = &mut *lock(&self.failed) {
            failed.until = failed.at;
        }
    }
}

/// Locks state that is always left whole, so that a panic elsewhere does not spread.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
