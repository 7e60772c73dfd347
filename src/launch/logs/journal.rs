//! Lines of containers in the journal, through `journalctl` (journalctl(1), `--output=json`).

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Deserialize;
use serde_json::Value;

use crate::launch::Error;
use crate::launch::logs::{End, Line, Printer, Wanted, journalctl, quiet};
use crate::store::containers::Record;

/// As much of an entry as is shown.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR", default)]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    time: String,
    /// Text; a list of bytes where it is no UTF-8.
    #[serde(rename = "MESSAGE", default)]
    message: Value,
    #[serde(rename = "PRIORITY", default)]
    priority: String,
    #[serde(rename = "CONTAINER_PARTIAL_MESSAGE", default)]
    partial: Option<String>,
    #[serde(rename = "CONTAINER_ID_FULL", default)]
    id: String,
}

const FIELDS: &str = "MESSAGE,PRIORITY,CONTAINER_ID_FULL,CONTAINER_PARTIAL_MESSAGE";

impl Entry {
    fn line(&self) -> Option<Line> {
        let text = match &self.message {
            Value::String(text) => text.clone().into_bytes(),
            Value::Array(bytes) => {
                let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
                bytes.iter().map(byte).collect::<Option<Vec<u8>>>()?
            }
            _ => Vec::new(),
        };
        let time = Timestamp::from_microsecond(self.time.parse().ok()?).ok()?;
        // A container's own words are of priority "info", those on standard error of "err".
        Some(Line { time, error: self.priority == "3", whole: self.partial.is_none(), text })
    }
}

/// Shows what several containers wrote; with `follow` also what they write from now on, until the
/// last has ended. Each has its own printer.
pub(crate) fn show(
    containers: &mut [(Record, Printer)],
    wanted: Wanted,
    follow: bool,
) -> Result<(), Error> {
    let ends: Vec<End> = containers.iter().map(|(record, _)| End::of(record)).collect();
    let mut position = Position { since: wanted.since, until: wanted.until, cursor: None };
    if !position.advance(containers, wanted.tail, None)? {
        return Ok(());
    }
    let runs = ends.iter().any(|end| end.descriptor().is_some());
    if follow && (!runs || position.advance(containers, None, Some(&ends))?) {
        // What came between the last entry that was followed and the end.
        position.advance(containers, None, None)?;
    }
    Ok(())
}

/// How far the journal has been read.
struct Position {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// The last entry.
    cursor: Option<String>,
}

impl Position {
    /// Prints what is there beyond, and with `ends` what comes until all of them have; `false` where
    /// nobody reads it any more.
    fn advance(
        &mut self,
        containers: &mut [(Record, Printer)],
        tail: Option<usize>,
        ends: Option<&[End]>,
    ) -> Result<bool, Error> {
        // What was written before we look is there, whoever carries it still.
        let _ = journalctl().arg("--sync").status();
        let mut reader = Reader::spawn(self.command(containers, ends.is_some()))?;
        let mut held = VecDeque::new();
        while let Some(entry) = reader.next(ends)? {
            self.cursor = Some(entry.cursor.clone());
            match tail {
                None if !print(containers, &entry)? => return Ok(false),
                None => {}
                // journalctl's own --lines counts from the other end where there is a --since.
                Some(tail) => {
                    held.push_back(entry);
                    held.drain(..held.len().saturating_sub(tail));
                }
            }
        }
        for entry in held {
            if !print(containers, &entry)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn command(&self, containers: &[(Record, Printer)], follow: bool) -> Command {
        let mut command = journalctl();
        command.args(["--output=json", "--lines=all"]);
        command.arg(format!("--output-fields={FIELDS}"));
        let seconds = |time: Timestamp| {
            format!("@{}.{:06}", time.as_second(), time.subsec_microsecond().max(0))
        };
        match (&self.cursor, self.since) {
            (Some(cursor), _) => {
                command.arg(format!("--after-cursor={cursor}"));
            }
            (None, Some(since)) => {
                command.arg(format!("--since={}", seconds(since)));
            }
            (None, None) => {}
        }
        if let Some(until) = self.until {
            command.arg(format!("--until={}", seconds(until)));
        }
        if follow {
            command.arg("--follow");
        }
        for (record, _) in containers {
            command.arg(format!("CONTAINER_ID_FULL={}", record.id));
        }
        command
    }
}

/// Whether somebody still reads.
fn print(containers: &mut [(Record, Printer)], entry: &Entry) -> Result<bool, Error> {
    let Some(line) = entry.line() else { return Ok(true) };
    let of = |(record, _): &&mut (Record, Printer)| record.id.as_str() == entry.id;
    let Some((_, printer)) = containers.iter_mut().find(of) else { return Ok(true) };
    let printed = printer.print(&line);
    let gone = printed.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    quiet(printed).map(|()| !gone)
}

/// A `journalctl` that runs; it ends with us.
struct Reader {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Reader {
    fn spawn(mut command: Command) -> Result<Self, Error> {
        let failed =
            |error| Error::system("run journalctl, which has the containers' output", error);
        // SAFETY: prctl(2) is async-signal-safe, and nothing else is done in the child.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(
                    rustix::process::Signal::TERM,
                ))
                .map_err(std::io::Error::from)
            });
        }
        let mut child = command.spawn().map_err(failed)?;
        let output = child.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::Other.into()))?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    /// The next entry; `None` at the end, or, where `ends` are to be minded, when all have come and
    /// nothing is left to read.
    fn next(&mut self, ends: Option<&[End]>) -> Result<Option<Entry>, Error> {
        let failed = |error| Error::system("read from journalctl", error);
        loop {
            if let Some(ends) = ends
                && self.output.buffer().is_empty()
                && !self.readable(ends)
            {
                return Ok(None);
            }
            let mut line = Vec::new();
            if self.output.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                return Ok(None);
            }
            if let Ok(entry) = serde_json::from_slice(&line) {
                return Ok(Some(entry));
            }
        }
    }

    /// Waits until there is something to read, or the last container has ended.
    fn readable(&self, ends: &[End]) -> bool {
        loop {
            let left: Vec<_> =
                ends.iter().filter(|end| !end.wait(std::time::Duration::ZERO)).collect();
            if left.is_empty() {
                return false;
            }
            let mut polled =
                vec![PollFd::from_borrowed_fd(self.output.get_ref().as_fd(), PollFlags::IN)];
            let descriptors = left.iter().filter_map(|end| end.descriptor());
            polled.extend(descriptors.map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
            let _ = poll(&mut polled, None);
            if polled.first().is_some_and(|output| !output.revents().is_empty()) {
                return true;
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_lines() {
        let entry = |text: &str| serde_json::from_str::<Entry>(text).unwrap().line();
        let line = entry(
            r#"{"__CURSOR":"s","__REALTIME_TIMESTAMP":"1500000","MESSAGE":"a","PRIORITY":"3"}"#,
        );
        let line = line.unwrap();
        assert_eq!((line.error, line.whole, &*line.text), (true, true, &b"a"[..]));
        assert_eq!(line.time.as_microsecond(), 1_500_000);
        let bytes = r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":[255,97],"PRIORITY":"6",
                        "CONTAINER_PARTIAL_MESSAGE":"true"}"#;
        let line = entry(bytes).unwrap();
        assert_eq!((line.error, line.whole, &*line.text), (false, false, &[255, 97][..]));
        assert_eq!(entry(r#"{"MESSAGE":"a"}"#), None);
    }
}
