//! What units wrote into the journal, read by `journalctl` (`docs/decisions/0022-ledger.md`).

mod runs;

use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::model::failure::plain;
use crate::model::{Scope, UnitName};
use crate::program::child;
use crate::update::port::{self, RunTold};

const PROGRAM: &str = "/usr/bin/journalctl";

/// So many lines are kept at most, of so many characters each, and so many bytes in all.
const LINES: usize = 50;
const LINE: usize = 1000;
const BYTES: usize = 8 << 10;

/// How much of its answer is read, in bytes: the newest entries come first.
const MAX_ANSWER: u64 = 1 << 20;

/// How long one call may take: a unit is down meanwhile.
const TIME: Duration = Duration::from_secs(2);

/// How often an ordinary user's journal is looked at again where nothing has come yet, and after
/// which time: only root may have it brought up to date.
const AGAIN: usize = 3;
const PAUSE: Duration = Duration::from_millis(50);

/// The journal, as this process may read it.
#[derive(Debug, Clone, Copy)]
pub struct Journal {
    scope: Scope,
}

impl Journal {
    pub fn new(scope: Scope) -> Self {
        Self { scope }
    }

    /// What the units' own processes wrote, and what their manager said of them. A field of one's own
    /// anybody may write: whose it is, journald says.
    fn matches(self, invocations: &[String]) -> Vec<String> {
        let mut matches = Vec::new();
        for id in invocations {
            let manager = match self.scope {
                Scope::System => ["_PID=1".to_owned(), format!("INVOCATION_ID={id}")],
                Scope::User => {
                    let uid = rustix::process::getuid().as_raw();
                    [format!("_UID={uid}"), format!("USER_INVOCATION_ID={id}")]
                }
            };
            if !matches.is_empty() {
                matches.push("+".to_owned());
            }
            matches.push(format!("_SYSTEMD_INVOCATION_ID={id}"));
            matches.push("+".to_owned());
            matches.extend(manager);
        }
        matches
    }

    /// What was written before is in it then. Where that fails, what is there is told. Only root may ask for
    /// it.
    async fn sync(self) {
        if self.scope == Scope::System {
            let synced = journalctl().arg("--sync").status();
            let _ = tokio::time::timeout(TIME, synced).await;
        }
    }

    async fn read(self, invocations: &[String]) -> Result<Vec<String>, String> {
        let mut command = journalctl();
        command.args(["--quiet", "--all", "--reverse", "--output=json"]);
        // Among them are entries that do not count.
        command.arg(format!("--lines={}", 2 * LINES));
        command.arg("--output-fields=MESSAGE,SYSLOG_IDENTIFIER,PODMAN_EVENT");
        command.args(self.matches(invocations));
        Ok(lines(&answer(command).await?))
    }

    /// What selects the ends of a unit's jobs, as its manager tells them: "Started …", "Stopped …".
    fn ends_of_jobs(self, unit: &UnitName) -> [String; 3] {
        let [manager, unit] = match self.scope {
            Scope::System => ["_PID=1".to_owned(), format!("UNIT={unit}")],
            Scope::User => {
                let uid = rustix::process::getuid().as_raw();
                [format!("_UID={uid}"), format!("USER_UNIT={unit}")]
            }
        };
        [manager, unit, "JOB_RESULT=done".to_owned()]
    }
}

/// What a call of `journalctl` says.
async fn answer(mut command: Command) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{PROGRAM} cannot be run: {error}");
    let mut child = command.spawn().map_err(failed)?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (answer, said) = tokio::join!(read(output), read(errors));
        // One that had more to say has been told by the end of its pipe to end.
        let status = child.wait().await.map_err(failed)?;
        match status.success() || !answer.is_empty() {
            true => Ok(answer),
            false => Err(complaint(&said, &status.to_string())),
        }
    };
    let late = || Err(format!("{PROGRAM} has not ended after {} s", TIME.as_secs()));
    tokio::time::timeout(TIME, work).await.unwrap_or_else(|_| late())
}

impl port::Journal for Journal {
    async fn last(&self, invocations: &[String]) -> Result<Vec<String>, String> {
        self.sync().await;
        if self.scope == Scope::System {
            return self.read(invocations).await;
        }
        for _ in 0..AGAIN {
            let lines = self.read(invocations).await?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(vec![])
    }

    async fn tells_of_a_stop(&self, unit: &UnitName, since: Timestamp) -> Result<bool, String> {
        self.sync().await;
        let mut command = journalctl();
        command.args(["--quiet", "--reverse", "--lines=1", "--output=json"]);
        command.arg("--output-fields=JOB_TYPE").arg(format!("--since=@{}", since.as_second()));
        command.args(self.ends_of_jobs(unit));
        Ok(is_stop(&answer(command).await?))
    }

    async fn runs(&self, unit: &UnitName, since: Timestamp) -> Result<Vec<RunTold>, String> {
        self.sync().await;
        self.read_runs(unit, since).await
    }
}

/// Whether the job that an entry tells of was a stop.
fn is_stop(entry: &[u8]) -> bool {
    serde_json::from_slice(entry).is_ok_and(|End { job_type }| job_type == "stop")
}

/// The end of a job, as `--output=json` has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct End {
    job_type: String,
}

/// Nothing of our environment steers it.
fn journalctl() -> Command {
    let mut command = child(PROGRAM.as_ref(), ["--no-pager"]);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What came before an error is worth as much.
        let _ = from.take(MAX_ANSWER).read_to_end(&mut bytes).await;
    }
    bytes
}

fn complaint(said: &[u8], status: &str) -> String {
    let said = String::from_utf8_lossy(said);
    let last = said.trim().lines().next_back().unwrap_or_default();
    plain(if last.is_empty() { status } else { last })
}

/// An entry, as `--output=json` has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Entry {
    #[serde(default)]
    message: Field,
    #[serde(default)]
    syslog_identifier: Field,
    /// Podman's log of events, which is of no use here.
    podman_event: Option<Field>,
}

/// A field: a text, its bytes where it is none, or several of them.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Field {
    Text(String),
    Bytes(Vec<u8>),
    Several(Vec<Field>),
    #[default]
    Nothing,
}

impl Field {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Self::Several(all) => all.into_iter().next().map(Self::text).unwrap_or_default(),
            Self::Nothing => String::new(),
        }
    }
}

/// The newest lines of an answer that begins with the newest entry; oldest first, harmless, and no
/// more than is kept.
fn lines(answer: &[u8]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut left = BYTES;
    // The last entry may have been cut off.
    let entries = answer.split(|byte| *byte == b'\n').filter_map(|line| {
        let entry: Entry = serde_json::from_slice(line).ok()?;
        entry.podman_event.is_none().then_some(entry)
    });
    for entry in entries {
        let identifier = entry.syslog_identifier.text();
        for line in entry.message.text().trim_end().lines().rev() {
            let line = match identifier.as_str() {
                "" => line.to_owned(),
                identifier => format!("{identifier}: {line}"),
            };
            let line: String = plain(&line).chars().take(LINE).collect();
            if line.len() > left || kept.len() == LINES {
                kept.reverse();
                return kept;
            }
            left -= line.len();
            kept.push(line);
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str) -> String {
        format!("{}\n", serde_json::json!({"MESSAGE": message, "SYSLOG_IDENTIFIER": "app"}))
    }

    #[test]
    fn the_newest_lines_come_last_and_harmless() {
        let answer = [
            r#"{"MESSAGE":"out\u001b[2J of\u202e luck","SYSLOG_IDENTIFIER":"app"}"#,
            r#"{"MESSAGE":[255,97],"SYSLOG_IDENTIFIER":["a","b"]}"#,
            r#"{"MESSAGE":"container died","PODMAN_EVENT":"died"}"#,
            r#"{"MESSAGE":"one\ntwo"}"#,
            r#"{"MESSAGE":null}"#,
            r#"{"MESSAGE":"cut o"#,
        ];
        let expected = ["one", "two", "a: \u{fffd}a", "app: out [2J of  luck"];
        assert_eq!(lines(answer.join("\n").as_bytes()), expected);
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        let many: String = (0..200).rev().map(|n| entry(&n.to_string())).collect();
        let kept = lines(many.as_bytes());
        assert_eq!((kept.len(), kept.last().map(String::as_str)), (LINES, Some("app: 199")));
        let long = entry(&"é".repeat(5000)).repeat(20);
        let kept = lines(long.as_bytes());
        assert!(kept.iter().all(|line| line.chars().count() == LINE));
        assert!(kept.iter().map(String::len).sum::<usize>() <= BYTES && !kept.is_empty());
        assert!(lines(entry(&"x\n".repeat(9000)).as_bytes()).len() == LINES);
    }

    #[test]
    fn anybodys_fields_are_not_believed() {
        let ids = ["a".to_owned(), "b".to_owned()];
        let matches = Journal::new(Scope::System).matches(&ids).join(" ");
        assert_eq!(
            matches,
            "_SYSTEMD_INVOCATION_ID=a + _PID=1 INVOCATION_ID=a + \
             _SYSTEMD_INVOCATION_ID=b + _PID=1 INVOCATION_ID=b"
        );
    }

    #[test]
    fn a_stop_is_told_from_a_restart() {
        assert!(is_stop(b"{\"JOB_TYPE\":\"stop\",\"__CURSOR\":\"s=1\"}\n"));
        for other in ["{\"JOB_TYPE\":\"restart\"}\n", "{\"MESSAGE\":\"stop\"}", ""] {
            assert!(!is_stop(other.as_bytes()), "{other}");
        }
        let app = "app.service".parse().unwrap();
        let matches = Journal::new(Scope::System).ends_of_jobs(&app).join(" ");
        assert_eq!(matches, "_PID=1 UNIT=app.service JOB_RESULT=done");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(answer in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            lines(&answer);
        }
    }
}
