//! What containers wrote, read back: from the journal ([`journal`]) or a file ([`file`]); and the
//! options of the drivers that put it there ([`options`]).
//!
//! What must not live here: writing it (see `supervise`).

pub(crate) mod file;
pub(crate) mod journal;
pub(crate) mod options;

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::launch::Error;
use crate::store::containers::{Process, Record};

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    /// Not before.
    pub(crate) since: Option<Timestamp>,
    /// Not after.
    pub(crate) until: Option<Timestamp>,
    /// The last so many of those.
    pub(crate) tail: Option<usize>,
}

impl Wanted {
    fn holds(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}

/// A line, or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) time: Timestamp,
    /// It came from standard error.
    pub(crate) error: bool,
    /// The line ends here.
    pub(crate) whole: bool,
    pub(crate) text: Vec<u8>,
}

/// How lines are shown.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) timestamps: bool,
    /// Stands before each line.
    pub(crate) prefix: Option<String>,
    zone: TimeZone,
}

impl Style {
    pub(crate) fn new(timestamps: bool, prefix: Option<String>) -> Self {
        Self { timestamps, prefix, zone: TimeZone::system() }
    }
}

/// Prints lines where the container printed them: to our standard output, or standard error.
#[derive(Debug)]
pub(crate) struct Printer {
    style: Style,
    /// Whether a line has begun, on standard output and on standard error.
    begun: [bool; 2],
}

impl Printer {
    pub(crate) fn new(style: Style) -> Self {
        Self { style, begun: [false; 2] }
    }

    /// # Errors
    /// `BrokenPipe` where nobody reads any more.
    pub(crate) fn print(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.text.len() + 64);
        let begun = &mut self.begun[usize::from(line.error)];
        if !*begun {
            if let Some(prefix) = &self.style.prefix {
                bytes.extend_from_slice(prefix.as_bytes());
                bytes.push(b' ');
            }
            if self.style.timestamps {
                let zoned = line.time.to_zoned(self.style.zone.clone());
                let time = zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z ").to_string();
                bytes.extend_from_slice(time.as_bytes());
            }
        }
        bytes.extend_from_slice(&line.text);
        *begun = !line.whole;
        if line.whole {
            bytes.push(b'\n');
        }
        if line.error {
            io::stderr().lock().write_all(&bytes)
        } else {
            let mut output = io::stdout().lock();
            output.write_all(&bytes).and_then(|()| output.flush())
        }
    }
}

/// A reader that went away has read enough.
pub(crate) fn quiet(printed: io::Result<()>) -> Result<(), Error> {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| Error::system("print the log", error)),
    }
}

/// The end of a container: of its supervisor, which has written all by then.
#[derive(Debug)]
pub(crate) struct End(Option<(Process, rustix::fd::OwnedFd)>);

impl End {
    pub(crate) fn of(record: &Record) -> Self {
        let supervisor = record.supervisor.filter(Process::is_alive);
        let open = |process: Process| {
            let pidfd = pidfd_open(Pid::from_raw(process.pid)?, PidfdFlags::empty()).ok()?;
            process.is_alive().then_some((process, pidfd))
        };
        Self(supervisor.and_then(open))
    }

    pub(crate) fn descriptor(&self) -> Option<&rustix::fd::OwnedFd> {
        self.0.as_ref().map(|(_, pidfd)| pidfd)
    }

    /// Whether it has come within `time`.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let Some((process, pidfd)) = &self.0 else { return true };
        let time = rustix::time::Timespec::try_from(time).ok();
        let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
        let _ = poll(&mut polled, time.as_ref());
        !process.is_alive()
    }
}

/// `journalctl`, its standard output ours.
fn journalctl() -> Command {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--all"]).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let wanted = Wanted { since: Some(at(10)), until: Some(at(20)), tail: None };
        assert_eq!(
            [9, 10, 20, 21].map(|second| wanted.holds(at(second))),
            [false, true, true, false]
        );
        assert!(Wanted::default().holds(at(0)));
    }
}
