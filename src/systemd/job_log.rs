//! Which jobs of others ended, of which unit. A stop that somebody asked for has a job; a program
//! that says `STOPPING=1` by itself has none, and afterwards nothing else tells the two apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::AbortHandle;
use zbus::OwnedObjectPath;

use super::proxy::SystemdProxy;

/// So many jobs of a unit are remembered: more than ours and another one may end together.
const REMEMBERED: usize = 4;

/// Hears of the end of each job, for as long as it lives.
#[derive(Debug)]
pub(super) struct JobLog {
    since: Duration,
    heard: Arc<Mutex<Heard>>,
    listener: AbortHandle,
}

#[derive(Debug, Default)]
struct Heard {
    /// Of each unit, newest last.
    ended: BTreeMap<String, Vec<(OwnedObjectPath, Duration)>>,
    ours: Vec<OwnedObjectPath>,
}

impl JobLog {
    /// Listens from now on.
    pub(super) async fn listen(systemd: &SystemdProxy<'_>) -> zbus::Result<Self> {
        let mut removed = systemd.receive_job_removed().await?;
        let heard = Arc::<Mutex<Heard>>::default();
        let hears = Arc::clone(&heard);
        let listener = tokio::spawn(async move {
            while let Some(signal) = removed.next().await {
                // A signal that is not as documented says nothing.
                if let Ok(args) = signal.args() {
                    let mut heard = hears.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.hear(args.unit(), args.job().clone());
                }
            }
        });
        Ok(Self { since: now(), heard, listener: listener.abort_handle() })
    }

    /// Whether the connection, and what it could tell, ended.
    pub(super) fn is_over(&self) -> bool {
        self.listener.is_finished()
    }

    /// The job is one of this process.
    pub(super) fn is_ours(&self, job: &OwnedObjectPath) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).ours.push(job.clone());
    }

    /// Whether a unit that left its active state at `left` did so without a job of anybody's.
    pub(super) fn nobody_asked(&self, unit: &str, left: Duration) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = heard.ended.get(unit).into_iter().flatten();
        // The end of a stop is heard after it.
        let mut others = ended.filter(|(job, at)| *at >= left && !heard.ours.contains(job));
        self.since <= left && !self.is_over() && others.next().is_none()
    }
}

impl Drop for JobLog {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Heard {
    fn hear(&mut self, unit: &str, job: OwnedObjectPath) {
        let ended = self.ended.entry(unit.to_owned()).or_default();
        ended.push((job, now()));
        if ended.len() > REMEMBERED {
            ended.remove(0);
        }
    }
}

/// The time on systemd's clock.
pub(super) fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither is below zero (clock_gettime(2)).
    let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}
