//! Podman's log of events, as far as `podman auto-update` writes to it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::presence;
use crate::model::Scope;

/// Where the journal takes entries (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Podman's events, where its configuration has them in the journal, which is everybody's to write to.
/// Its own file of events is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// containers.conf(5), from the weakest to the strongest: files, and directories of drop-ins.
    configuration: Vec<PathBuf>,
    journal: PathBuf,
}

impl Events {
    pub fn of(scope: Scope, variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let configuration = presence::configuration(scope, variable);
        Self { configuration, journal: JOURNAL.into() }
    }

    /// Says that a run had work to look at, as `podman auto-update` does once a run: `podman events
    /// --filter event=auto-update` shows it.
    ///
    /// # Errors
    /// Where the journal does not take it.
    pub fn auto_update(&self, time: Timestamp) -> std::io::Result<()> {
        if !self.are_in_journal() {
            return Ok(());
        }
        let entry = format!(
            "MESSAGE={time} system auto-update\nPRIORITY=6\nSYSLOG_IDENTIFIER=podman\n\
             PODMAN_EVENT=auto-update\nPODMAN_TYPE=system\nPODMAN_TIME={time}\n"
        );
        UnixDatagram::unbound()?.send_to(entry.as_bytes(), &self.journal).map(drop)
    }

    /// Podman's default where there is a journal.
    fn are_in_journal(&self) -> bool {
        let logger = self.configuration.iter().filter_map(|path| logger_in(path)).next_back();
        self.journal.exists() && logger.is_none_or(|logger| logger == "journald")
    }
}

/// The `events_logger` of a file, or of the last one in a directory that has any.
fn logger_in(path: &Path) -> Option<String> {
    if path.is_dir() {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path()).collect();
        files.sort();
        return files
            .iter()
            .filter(|path| path.is_file())
            .filter_map(|path| logger_in(path))
            .next_back();
    }
    let text = std::fs::read_to_string(path).ok()?;
    let value = |line: &str| {
        let value = line.trim_start().strip_prefix("events_logger")?.trim_start();
        let value = value.strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        value[1..].split_once(quote).map(|(value, _)| value.to_owned())
    };
    text.lines().filter_map(value).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_file_says_where_events_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let events = Events {
            configuration: vec![at("a.conf"), at("conf.d"), at("none")],
            journal: at("journal"),
        };
        assert!(!events.are_in_journal(), "there is no journal");
        let journal = UnixDatagram::bind(at("journal")).unwrap();
        std::fs::write(at("a.conf"), "[engine]\n# events_logger = \"none\"\n").unwrap();
        assert!(events.are_in_journal());
        std::fs::write(at("a.conf"), "[engine]\nevents_logger=\"file\" # why\n").unwrap();
        assert!(!events.are_in_journal());
        std::fs::create_dir(at("conf.d")).unwrap();
        std::fs::write(at("conf.d/1.conf"), "[engine]\n  events_logger = 'journald'\n").unwrap();
        assert!(events.are_in_journal());
        events.auto_update("2026-11-26T16:37:56.524010941Z".parse().unwrap()).unwrap();
        let mut entry = [0; 1000];
        let length = journal.recv(&mut entry).unwrap();
        let entry = String::from_utf8_lossy(&entry[..length]);
        assert!(entry.contains("\nPODMAN_TIME=2026-11-26T16:37:56.524010941Z\n"), "{entry}");
        std::fs::write(at("conf.d/2.conf"), "[engine]\nevents_logger = \"none\"\n").unwrap();
        events.auto_update(Timestamp::UNIX_EPOCH).unwrap();
        journal.set_nonblocking(true).unwrap();
        journal.recv(&mut [0; 1000]).unwrap_err();
    }
}
