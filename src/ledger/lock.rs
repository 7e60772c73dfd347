//! The pass lock: passes, whoever makes them, are exclusive on one host.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk;

/// Held until dropped; the kernel drops it with the process, however that ends.
#[derive(Debug)]
pub struct PassLock {
    _file: File,
}

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// The program, such as `updaterd`.
    pub program: String,
    pub since: Timestamp,
}

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another pass is under way: {program} (process {pid}) since {since:.0}",
        program = .0.program, pid = .0.pid, since = .0.since)]
    Held(Holder),
    /// The holder has only just taken it, or is an unknown program.
    #[error("another pass is under way")]
    HeldByUnknown,
    #[error("cannot lock {path}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl PassLock {
    /// Takes the lock of the host or user whose running state lies in `run_dir`.
    ///
    /// # Errors
    /// At once, where another process holds it.
    pub fn try_acquire(run_dir: &Path, program: &str) -> Result<Self, LockError> {
        let path = run_dir.join("pass.lock");
        let failed = |source| LockError::Io { path: path.clone(), source };
        disk::make_private(run_dir).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        if !disk::try_lock(&file).map_err(failed)? {
            return Err(held_by(file));
        }
        let holder = Holder {
            pid: std::process::id(),
            program: program.to_owned(),
            since: Timestamp::now(),
        };
        sign(&mut file, &holder).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(holder)?.as_bytes())
}

fn held_by(file: File) -> LockError {
    let mut text = String::new();
    let read = file.take(4096).read_to_string(&mut text);
    match read.ok().and_then(|_| serde_json::from_str(&text).ok()) {
        Some(holder) => LockError::Held(holder),
        None => LockError::HeldByUnknown,
    }
}
