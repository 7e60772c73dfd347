//! The health of containers: written by their supervisors beside the records, `health.json`, read by
//! the engine and by `updater-launch`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use super::containers::Records;
use crate::disk;
use crate::model::{ContainerId, HealthState};

/// The largest file read, in bytes: the results it has are short.
const MAX: u64 = 1024 * 1024;

/// What is known of a container's health. In JSON, Podman's words (podman-inspect(1),
/// `State.Health`), and ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    pub status: HealthState,
    /// Checks that failed since the last that passed, but for those of the start period.
    pub failing_streak: u32,
    /// The last results, oldest first.
    pub log: Vec<Checked>,
    /// Within so many seconds from its start, the container has been checked in earnest.
    pub patience: u64,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Checked {
    pub start: Timestamp,
    pub end: Timestamp,
    /// 0 where it passed; -1 where it took too long.
    pub exit_code: i32,
    /// The beginning of what it said.
    pub output: String,
}

impl Health {
    /// How long after its start the container has been checked in earnest.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

impl Records {
    /// The health of a container; `None` where it has no checks.
    pub fn health(&self, id: &ContainerId) -> Result<Option<Health>, Error> {
        let path = self.directory(id).join("health.json");
        let bytes = disk::read(&path, MAX).map_err(|cause| Error::read(&path, cause))?;
        let Some(bytes) = bytes else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Syntax { path, source })
    }

    /// Writes the health of a container, replacing an older one as a whole. Only its supervisor does.
    pub fn write_health(&self, id: &ContainerId, health: &Health) -> Result<(), Error> {
        let path = self.directory(id).join("health.json");
        let bytes = serde_json::to_vec(health)
            .map_err(|source| Error::Syntax { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|cause| Error::write(&path, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_read_as_it_was_written_in_podmans_words() {
        let run = tempfile::tempdir().unwrap();
        let records = Records::open(run.path());
        let id: ContainerId = "a".repeat(64).parse().unwrap();
        assert_eq!(records.health(&id).unwrap(), None);
        let checked = Checked {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            exit_code: 1,
            output: "no".into(),
        };
        let health = Health {
            status: HealthState::Unhealthy,
            failing_streak: 3,
            log: vec![checked],
            patience: 60,
        };
        std::fs::create_dir_all(records.directory(&id)).unwrap();
        records.write_health(&id, &health).unwrap();
        assert_eq!(records.health(&id).unwrap(), Some(health.clone()));
        let json = serde_json::to_value(&health).unwrap();
        assert_eq!((&json["Status"], &json["FailingStreak"]), (&"unhealthy".into(), &3.into()));
        assert_eq!(json["Log"][0]["ExitCode"], 1);
    }
}
