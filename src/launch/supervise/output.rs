//! Where a container's output goes. Through pipes of ours: a program that opens `/dev/stdout` could
//! not open the journal's socket.
//!
//! Architecture invariant: nothing here ever blocks. A destination that does not take what it gets
//! makes the container wait, never the supervisor.

use std::cell::RefCell;
use std::fs::File;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::PollFlags;

use crate::launch::Error;
use crate::launch::args::{LogDriver, ProcessFlags};
use crate::launch::control::server::Control;
use crate::launch::logs::file::LogFile;
use crate::launch::runtime::Streams;
use crate::launch::supervise::journal;
use crate::launch::supervise::journal::Journal;
use crate::launch::supervise::sink::Sink;
use crate::store::containers::Record;

/// How much is read from a container at once, in bytes.
const READ: usize = 16 * 1024;

/// How long the journal may take for what a container that ended has left, before that is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both streams of a running container; empty where they are not ours to carry.
#[derive(Debug, Default)]
pub(crate) struct Output {
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    /// `None` after its end.
    pipe: Option<File>,
    error: bool,
    sink: Sink,
}

/// What both streams share.
enum Log {
    Journal(Rc<Journal>),
    File(Rc<RefCell<LogFile>>),
    Own,
    /// But to who is attached.
    Nowhere,
}

/// What a stream can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The container writes.
    Read(usize),
    /// The destination takes more.
    Write(usize),
}

/// Where output goes when nothing is said: where our own output is the journal's, or nobody's
/// (`detached`), to the journal; else to our own, or to who started it and is `attached`. So it goes where there is no journal, too.
pub(crate) fn effective(
    driver: Option<LogDriver>,
    detached: bool,
    attached: bool,
) -> Option<LogDriver> {
    if attached && driver.is_none() {
        return None;
    }
    let to_journal = detached || journal::is_standard_output();
    match driver.or(to_journal.then_some(LogDriver::Journald)) {
        Some(LogDriver::Journald) if journal::is_there() => Some(LogDriver::Journald),
        Some(LogDriver::Journald) | None if detached => Some(LogDriver::None),
        Some(LogDriver::Journald) => None,
        driver => driver,
    }
}

/// What the record calls it.
pub(crate) fn name(driver: Option<LogDriver>) -> &'static str {
    match driver {
        Some(LogDriver::Journald) => "journald",
        Some(LogDriver::Passthrough) => "passthrough",
        Some(LogDriver::K8sFile) => "k8s-file",
        Some(LogDriver::None) => "none",
        None => "own",
    }
}

impl Output {
    /// The streams for the container, and our ends of them; `driver` is the effective one.
    pub(crate) fn open(
        driver: Option<LogDriver>,
        record: &Record,
        create: &ProcessFlags,
        attached: bool,
    ) -> Result<(Self, Streams), Error> {
        let log = match driver {
            Some(LogDriver::Passthrough) => return Ok((Self::default(), Streams::default())),
            Some(LogDriver::None) if !create.can_be_talked_to() => {
                return Ok((Self::default(), Streams::nowhere()?));
            }
            Some(LogDriver::Journald) => {
                let failed = |error| Error::system("connect to the journal", error);
                Log::Journal(Rc::new(Journal::connect(record).map_err(failed)?))
            }
            Some(LogDriver::K8sFile) => {
                let path = record.log.path.as_deref().unwrap_or("".as_ref());
                let failed = |error| Error::file("write the log to", path, error);
                let file = LogFile::open(path, record.log.max_size).map_err(failed)?;
                Log::File(Rc::new(RefCell::new(file)))
            }
            Some(LogDriver::None) => Log::Nowhere,
            None if attached => Log::Nowhere,
            None => Log::Own,
        };
        let sink = |error| match &log {
            Log::Journal(journal) => Ok(Sink::journal(journal.clone(), error)),
            Log::File(file) => Ok(Sink::file(file.clone(), error)),
            Log::Own => Sink::own(error),
            Log::Nowhere => Ok(Sink::nobody()),
        };
        if create.tty {
            let inside = Streams { terminal: true, ..Streams::default() };
            let stream = Stream { pipe: None, error: false, sink: sink(false)? };
            return Ok((Self { streams: vec![stream] }, inside));
        }
        let (output, output_in) = pipe()?;
        let (error, error_in) = pipe()?;
        let stream = |pipe: PipeReader, error| -> Result<Stream, Error> {
            Ok(Stream { pipe: Some(OwnedFd::from(pipe).into()), error, sink: sink(error)? })
        };
        let streams = vec![stream(output, false)?, stream(error, true)?];
        let inside = Streams {
            output: Some(OwnedFd::from(output_in)),
            error: Some(OwnedFd::from(error_in)),
            ..Streams::default()
        };
        Ok((Self { streams }, inside))
    }

    /// For a command of `exec` that has a terminal: only who is attached hears of it.
    pub(crate) fn of_terminal(master: OwnedFd) -> Self {
        let stream = Stream { pipe: Some(master.into()), error: false, sink: Sink::nobody() };
        Self { streams: vec![stream] }
    }

    /// The terminal that was made for the container meanwhile.
    pub(crate) fn connect(&mut self, master: OwnedFd) {
        if let Some(stream) = self.streams.first_mut() {
            stream.pipe = Some(master.into());
        }
    }

    /// What to wait for, each with its turn for [`Output::take`].
    /// `open` says whether there is room with who is attached, too.
    pub(crate) fn waiting(
        &self,
        open: bool,
    ) -> impl Iterator<Item = (Turn, BorrowedFd<'_>, PollFlags)> {
        self.streams.iter().enumerate().flat_map(move |(index, stream)| {
            let source = stream.pipe.as_ref().filter(|_| open && stream.sink.room() > 0);
            let read = source.map(|pipe| (Turn::Read(index), pipe.as_fd(), PollFlags::IN));
            let stalled = stream.sink.stalled();
            let write = stalled.map(|fd| (Turn::Write(index), fd, PollFlags::OUT));
            read.into_iter().chain(write)
        })
    }

    /// Carries what one stream has to say, once.
    pub(crate) fn take(&mut self, turn: Turn, attached: &mut Control) {
        let (Turn::Read(index) | Turn::Write(index)) = turn;
        let Some(stream) = self.streams.get_mut(index) else { return };
        match turn {
            Turn::Read(_) => stream.read(attached),
            Turn::Write(_) => stream.sink.flush(),
        }
    }

    /// After the container's end: carries what is left as far as the destinations take it. Whether
    /// all is gone; a process that outlived the container, and holds a pipe open, is not waited for.
    pub(crate) fn drain(&mut self, attached: &mut Control) -> bool {
        let streams = self.streams.iter_mut();
        let left = streams.filter_map(|stream| (!stream.drain(attached)).then_some(()));
        left.count() == 0
    }

    /// How long the destinations may take for the rest; `None` without end.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.streams.iter().any(|stream| stream.sink.is_journal()).then_some(PATIENCE)
    }

    /// What could not be carried is lost: says how much of it.
    pub(crate) fn close(&mut self) {
        let lost: u64 = self.streams.iter_mut().map(|stream| stream.sink.close()).sum();
        if lost > 0 {
            let words =
                format!("Warning: {lost} lines of the container's output were lost, ignoring\n");
            // Not to wait for this either.
            if let Ok(mut own) = Sink::own(true) {
                own.write(words.as_bytes());
            }
        }
    }
}

impl Stream {
    fn read(&mut self, attached: &mut Control) {
        let mut buffer = [0u8; READ];
        let length = self.sink.room().min(READ);
        match self.pipe.as_mut().map(|pipe| pipe.read(&mut buffer[..length])) {
            Some(Ok(length)) if length > 0 => {
                self.sink.write(&buffer[..length]);
                attached.carry(self.error, &buffer[..length]);
            }
            Some(Err(error)) if matches!(error.kind(), Interrupted | WouldBlock) => {}
            _ => self.end(),
        }
    }

    fn end(&mut self) {
        self.pipe = None;
        self.sink.finish();
    }

    fn drain(&mut self, attached: &mut Control) -> bool {
        // As much as a pipe can hold, read in pieces: a flood from a survivor has an end here.
        for _ in 0..=(1 << 20) / READ {
            self.sink.flush();
            if attached.is_full() || (self.sink.stalled().is_some() && self.sink.room() < READ) {
                return false;
            }
            if !self.readable() {
                break;
            }
            self.read(attached);
        }
        self.end();
        self.sink.stalled().is_none()
    }

    fn readable(&self) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        let mut polled = [rustix::event::PollFd::new(pipe, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut polled, Some(&now)), Ok(1..))
    }
}

impl Streams {
    fn nowhere() -> Result<Self, Error> {
        let open = || {
            std::fs::OpenOptions::new()
                .write(true)
                .open("/dev/null")
                .map(|file| Some(OwnedFd::from(file)))
                .map_err(|source| Error::file("open", "/dev/null", source))
        };
        Ok(Self { output: open()?, error: open()?, ..Self::default() })
    }
}

fn pipe() -> Result<(PipeReader, PipeWriter), Error> {
    std::io::pipe().map_err(|error| Error::system("make a pipe", error))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::launch::supervise::sink::ROOM;

    /// A stream from a pipe into another.
    fn stream() -> (Stream, PipeWriter, PipeReader) {
        let (source, container) = std::io::pipe().unwrap();
        let (reader, destination) = std::io::pipe().unwrap();
        let sink = Sink::to(&destination).unwrap();
        let pipe = Some(OwnedFd::from(source).into());
        (Stream { pipe, error: false, sink }, container, reader)
    }

    #[test]
    fn a_reader_that_stalls_makes_the_container_wait_not_us() {
        let (stream, mut container, mut reader) = stream();
        let mut output = Output { streams: vec![stream] };
        let mut nobody = Control::closed();
        let piece = [b'x'; READ];
        let mut written = 0;
        while output.waiting(true).any(|(turn, ..)| turn == Turn::Read(0)) {
            container.write_all(&piece).unwrap();
            written += piece.len();
            output.take(Turn::Read(0), &mut nobody);
            assert!(written <= (4 << 20), "it takes without end");
        }
        assert!(written >= ROOM);
        assert!(output.waiting(true).any(|(turn, ..)| turn == Turn::Write(0)));
        drop(container);
        assert!(!output.drain(&mut nobody));
        let mut read = Vec::new();
        while !output.drain(&mut nobody) {
            let mut buffer = [0u8; READ];
            let length = reader.read(&mut buffer).unwrap();
            read.extend_from_slice(&buffer[..length]);
        }
        drop(output);
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), written, "and nothing is lost");
    }
}
