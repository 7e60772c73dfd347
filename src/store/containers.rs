//! Records of containers: written by the launcher, read by the engine and by `updater-launch`.
//!
//! One directory for each container below the running state, `RUN/containers/ID/`, with
//! `record.json` in it; it is gone after a reboot, as the containers are.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use super::lock;
use crate::disk::{self, Lock, Mode};
use crate::model::{ContainerId, Digest, ImageIdentity, Reference, UnitName};

/// The largest record read, in bytes: labels and a command can be long.
const MAX_RECORD: u64 = 4 * 1024 * 1024;

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    /// Clock ticks from boot to its start: field 22 of `/proc/PID/stat` (proc_pid_stat(5)).
    pub start_time: u64,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit status; 128 + N for signal N.
    pub status: u8,
    pub at: Timestamp,
    /// Whether the kernel killed a process of it because its memory limit was reached.
    #[serde(default)]
    pub out_of_memory: bool,
}

/// A named volume that a container uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUse {
    pub name: String,
    /// Whether it was made for this container, without a name of the operator's.
    #[serde(default)]
    pub anonymous: bool,
}

/// Subordinate IDs that one container has for itself, as many users as groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allotted {
    pub first_uid: u32,
    pub first_gid: u32,
    pub count: u32,
}

/// What its log driver was told besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOptions {
    /// The file of `k8s-file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Where that begins anew, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// The tag of its lines in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl LogOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a container is and who runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub id: ContainerId,
    pub name: String,
    /// The image reference as given, normalised.
    pub reference: Reference,
    /// The operator's credentials file (`--authfile`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authfile: Option<PathBuf>,
    /// The pod it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ContainerId>,
    /// IDs of the host that are its users' alone (`--userns=auto`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allotted: Option<Allotted>,
    /// The image it was created from.
    pub image: ImageIdentity,
    /// Labels the operator gave.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Labels the image carries: not trusted (see `docs/architecture.md`).
    #[serde(default)]
    pub image_labels: BTreeMap<String, String>,
    /// The unit that the launcher found itself in.
    #[serde(default)]
    pub unit: Option<UnitName>,
    /// The process in whose unit the container was left behind ([`Record::is_guest`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Process>,
    /// The launcher that waits for the container, or was the last to; `None` before its first start.
    #[serde(default)]
    pub supervisor: Option<Process>,
    /// The container's first process; `None` before it runs.
    #[serde(default)]
    pub pid: Option<Process>,
    /// The container's cgroup, below the root of cgroup v2.
    #[serde(default)]
    pub cgroup: Option<String>,
    pub command: Vec<String>,
    pub created: Timestamp,
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// Its last end; `None` where it never ended, or nobody saw it.
    #[serde(default)]
    pub ended: Option<Ended>,
    /// How often its supervisor has started it again (`--restart`).
    #[serde(default)]
    pub restarts: u32,
    /// Where the root file system is mounted, as the container's first process sees it from
    /// outside: in the launcher's mount namespace.
    pub rootfs: PathBuf,
    /// The signal that stops it: `SIGTERM`.
    pub stop_signal: String,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_timeout: u32,
    /// Where its output goes: `journald`, `k8s-file`, `none`, `passthrough`, or `own`, its launcher's output.
    pub log_driver: String,
    /// The named volumes it uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeUse>,
    /// The manifests of images that are mounted into it, besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounted_images: Vec<Digest>,
    #[serde(default, skip_serializing_if = "LogOptions::is_default")]
    pub log: LogOptions,
    /// Whether everything of it goes when it ends (`--rm`).
    #[serde(default)]
    pub remove: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidfile: Option<PathBuf>,
}

/// The records of one host or user.
#[derive(Debug, Clone)]
pub struct Records {
    dir: PathBuf,
}

/// What a look at all records gave: one that cannot be read does not hide the others.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of their creation.
    pub records: Vec<Record>,
    pub problems: Vec<Error>,
    /// The containers whose records cannot be read.
    pub unreadable: Vec<ContainerId>,
    /// The containers that have a directory, but no record in it.
    pub empty: Vec<ContainerId>,
}

impl Process {
    /// The process that has this number now.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub fn of(pid: i32) -> io::Result<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
        let (_, start_time) = state_and_start(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, start_time })
    }

    /// The parent of the process that has this number now; 0 where that is outside.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub fn parent_of(pid: i32) -> io::Result<i32> {
        let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
        let parent = fields(&stat).and_then(|mut fields| fields.nth(1)?.parse().ok());
        parent.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The calling process.
    pub fn current() -> io::Result<Self> {
        Self::of(rustix::process::getpid().as_raw_pid())
    }

    /// Whether it still runs; a zombie, which nobody has waited for yet, does not.
    pub fn is_alive(&self) -> bool {
        let stat = std::fs::read(format!("/proc/{}/stat", self.pid));
        let now = stat.ok().and_then(|stat| state_and_start(&stat));
        now.is_some_and(|(state, start)| start == self.start_time && !matches!(state, 'Z' | 'X'))
    }
}

/// The fields of proc_pid_stat(5) from the third on. The second is a name in parentheses that may
/// hold anything, parentheses and blanks too; none comes after its end.
fn fields(stat: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    Some(std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace())
}

/// Fields 3 and 22 of proc_pid_stat(5).
fn state_and_start(stat: &[u8]) -> Option<(char, u64)> {
    let mut fields = fields(stat)?;
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(22 - 4)?.parse().ok()?))
}

impl Record {
    /// Whether this container runs or is being started. It may outlive its supervisor.
    pub fn is_running(&self) -> bool {
        self.is_supervised() || self.pid.is_some_and(|init| init.is_alive())
    }

    /// Whether it is a guest in its unit: whose own process, which had it left behind there, goes on.
    pub fn is_guest(&self) -> bool {
        self.host.is_some_and(|host| host.is_alive())
    }

    /// Whether its supervisor, by which it belongs to a unit, still waits for it.
    pub fn is_supervised(&self) -> bool {
        self.supervisor.is_some_and(|supervisor| supervisor.is_alive())
    }
}

impl Records {
    /// The records below `run`, such as `/run/updaterd`; nothing is created yet.
    pub fn open(run: &Path) -> Self {
        Self { dir: run.join("containers") }
    }

    /// The directory that was opened.
    pub fn root(&self) -> &Path {
        // The records are in a directory of it.
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// The container's directory, for the launcher's own files beside the record.
    pub fn directory(&self, id: &ContainerId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    /// Keeps other launchers from taking a name at the same time. Waits for it.
    pub fn lock(&self) -> Result<Lock, Error> {
        self.create(&self.dir)?;
        lock::wait(&self.dir.join("lock"), Mode::Exclusive)
    }

    /// Writes the record, replacing an older one as a whole. Only the supervisor, or whoever holds
    /// the lock, writes.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        let dir = self.directory(&record.id);
        self.create(&dir)?;
        let path = dir.join("record.json");
        let bytes = serde_json::to_vec(record)
            .map_err(|source| Error::Syntax { path: path.clone(), source })?;
        disk::replace(&path, &bytes).map_err(|cause| Error::write(&path, cause))
    }

    /// The record of a container; `None` where there is none.
    pub fn get(&self, id: &ContainerId) -> Result<Option<Record>, Error> {
        let path = self.directory(id).join("record.json");
        let bytes = disk::read(&path, MAX_RECORD).map_err(|cause| Error::read(&path, cause))?;
        let Some(bytes) = bytes else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Syntax { path, source })
    }

    /// All records, stale ones too.
    pub fn all(&self) -> Result<Found, Error> {
        let unreadable = |cause| Error::io("list", &self.dir, cause);
        let entries = match std::fs::read_dir(&self.dir) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
            entries => entries.map_err(unreadable)?,
        };
        let mut found = Found::default();
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            match self.get(&id) {
                Ok(Some(record)) => found.records.push(record),
                Ok(None) => found.empty.push(id),
                Err(problem) => {
                    found.problems.push(problem);
                    found.unreadable.push(id);
                }
            }
        }
        found.records.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(found)
    }

    /// Removes the container's directory with all in it; none is no error.
    pub fn remove(&self, id: &ContainerId) -> Result<(), Error> {
        let dir = self.directory(id);
        disk::remove_tree(&dir).map_err(|cause| Error::io("remove", &dir, cause))
    }

    fn create(&self, dir: &Path) -> Result<(), Error> {
        disk::make_private(dir).map_err(|cause| Error::io("create", dir, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Platform;

    fn record(id: char) -> Record {
        Record {
            id: id.to_string().repeat(64).parse().unwrap(),
            name: "web".into(),
            reference: "quay.io/a/b:1".parse().unwrap(),
            authfile: None,
            pod: None,
            allotted: None,
            image: ImageIdentity {
                target: Digest::of(b"i"),
                manifest: Digest::of(b"m"),
                platform: Platform::host(),
            },
            labels: BTreeMap::new(),
            image_labels: BTreeMap::new(),
            unit: None,
            host: None,
            supervisor: Process::current().ok(),
            pid: None,
            cgroup: None,
            command: vec!["sleep".into(), "1".into()],
            created: Timestamp::UNIX_EPOCH,
            started: None,
            ended: None,
            restarts: 0,
            rootfs: "/r".into(),
            stop_signal: "SIGTERM".into(),
            stop_timeout: 10,
            log_driver: "journald".into(),
            volumes: Vec::new(),
            mounted_images: Vec::new(),
            log: LogOptions::default(),
            remove: false,
            cidfile: None,
        }
    }

    #[test]
    fn reads_what_it_writes_and_removes_it() {
        let run = tempfile::tempdir().unwrap();
        let records = Records::open(run.path());
        assert!(records.all().unwrap().records.is_empty());
        let (a, b) = (record('a'), record('b'));
        records.write(&a).unwrap();
        records.write(&b).unwrap();
        records.write(&b).unwrap();
        assert_eq!(records.get(&a.id).unwrap().as_ref(), Some(&a));
        assert_eq!(records.all().unwrap().records, [a.clone(), b.clone()]);
        std::fs::write(records.directory(&b.id).join("record.json"), "{").unwrap();
        let found = records.all().unwrap();
        assert_eq!((found.records.len(), found.problems.len()), (1, 1));
        records.remove(&a.id).unwrap();
        records.remove(&a.id).unwrap();
        assert_eq!(records.get(&a.id).unwrap(), None);
    }

    #[test]
    fn a_container_runs_as_long_as_its_supervisor_or_its_own_process() {
        let mut record = record('a');
        assert!(record.is_running() && record.is_supervised());
        record.pid = record.supervisor;
        record.supervisor.as_mut().unwrap().start_time += 1;
        assert!(record.is_running() && !record.is_supervised());
        record.pid = record.supervisor;
        assert!(!record.is_running());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::of(child.id().cast_signed()).unwrap();
        let start = std::time::Instant::now();
        while process.is_alive() {
            assert!(start.elapsed() < std::time::Duration::from_secs(20));
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

    #[test]
    fn a_process_name_with_parentheses_does_not_shift_the_fields() {
        let stat = b"7 (a) R 1 (b) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0";
        assert_eq!(state_and_start(stat), Some(('S', 4711)));
        assert_eq!(state_and_start(b"7 (a"), None);
    }
}
