//! A private directory for one call of a runtime: what it is told, and what it says. Gone with the
//! call; what it is told may hold secrets.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::disk;
use crate::launch::Error;

/// The directory of one call.
#[derive(Debug)]
pub(super) struct Desk(PathBuf);

impl Desk {
    /// Makes it in `directory`; what a call that was killed has left there of this name gives way.
    pub(super) fn lay(directory: &Path, name: &str) -> Result<Self, Error> {
        let path = directory.join(name);
        let made = disk::remove_tree(&path).and_then(|()| disk::make_private(&path));
        made.map_err(|source| Error::file("make", &path, source))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the runtime writes what went wrong.
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Where it writes the number of the process that it started.
    pub(super) fn pid_file(&self) -> PathBuf {
        self.0.join("pid")
    }

    pub(super) fn pid(&self) -> io::Result<i32> {
        let text = std::fs::read_to_string(self.pid_file())?;
        text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Writes a specification, for nobody else to read.
    pub(super) fn write(&self, name: &str, value: &impl Serialize) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        let bytes = serde_json::to_vec(value).map_err(Error::Json)?;
        let mut options = std::fs::OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = opened.and_then(|mut file| file.write_all(&bytes));
        written.map(|()| path.clone()).map_err(|source| Error::file("write", path, source))
    }

    /// What the runtime said last; empty where it said nothing.
    pub(super) fn said(&self) -> String {
        last_error(&std::fs::read_to_string(self.log()).unwrap_or_default())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // In a directory that goes with the container, ignoring.
        let _ = disk::remove_tree(&self.0);
    }
}

/// The last error among lines of JSON, without the runtime's own "runc create failed: ".
fn last_error(log: &str) -> String {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut errors = lines.filter(|line| matches!(line["level"].as_str(), Some("error" | "fatal")));
    let last = errors.next_back().and_then(|line| line["msg"].as_str().map(str::to_owned));
    let text = last.unwrap_or_default();
    match text.split_once(" failed: ") {
        Some((who, rest)) if who.starts_with("runc ") => rest.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_last_error_is_told() {
        let log = r#"{"level":"warning","msg":"hm"}
            {"level":"error","msg":"runc create failed: no: failed: really"}"#;
        assert_eq!(last_error(log), "no: failed: really");
        assert_eq!(
            last_error(r#"{"msg":"open `x` failed: y","level":"error"}"#),
            "open `x` failed: y"
        );
        assert_eq!(last_error("no JSON"), "");
    }

    #[test]
    fn what_is_told_is_private_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let desk = Desk::lay(directory.path(), "oci").unwrap();
        let file = desk.write("config.json", &serde_json::json!({})).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(desk.pid().is_err());
        std::fs::write(desk.pid_file(), "42\n").unwrap();
        assert_eq!(desk.pid().unwrap(), 42);
        drop(desk);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
