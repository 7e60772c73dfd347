//! Where a container's output goes. Through pipes of ours: a program that opens `/dev/stdout` could
//! not open the journal's socket.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Error;
use super::args::LogDriver;
use super::journal::{self, Journal};
use super::runtime::Streams;
use crate::store::containers::Record;

/// The longest line written as one, in bytes; a longer one is cut (LineMax= of journald.conf(5)).
const LINE: usize = 48 * 1024;

/// Both streams of a running container; empty where they are not ours to carry.
#[derive(Debug, Default)]
pub(crate) struct Output {
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    /// `None` after its end.
    pipe: Option<PipeReader>,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Own { error: bool },
    Journal { journal: std::rc::Rc<Journal>, error: bool, line: Vec<u8> },
}

impl Output {
    /// The streams for the container, and our ends of them. Where our own output is the journal's,
    /// or nobody's (`detached`), the container by default writes to the journal; else to our own.
    pub(crate) fn open(
        driver: Option<LogDriver>,
        detached: bool,
        record: &Record,
    ) -> Result<(Self, Streams), Error> {
        let to_journal = detached || journal::is_standard_output();
        let driver = driver.or(to_journal.then_some(LogDriver::Journald));
        let journal = match driver {
            Some(LogDriver::Passthrough) => return Ok((Self::default(), Streams::default())),
            Some(LogDriver::None) => return Ok((Self::default(), Streams::nowhere()?)),
            Some(LogDriver::Journald) => Journal::connect(record).map(std::rc::Rc::new),
            None => None,
        };
        let sink = |error| match &journal {
            Some(journal) => Sink::Journal { journal: journal.clone(), error, line: Vec::new() },
            None => Sink::Own { error },
        };
        let (output, output_in) = pipe()?;
        let (error, error_in) = pipe()?;
        let streams = vec![
            Stream { pipe: Some(output), sink: sink(false) },
            Stream { pipe: Some(error), sink: sink(true) },
        ];
        let inside = Streams {
            output: Some(OwnedFd::from(output_in)),
            error: Some(OwnedFd::from(error_in)),
        };
        Ok((Self { streams }, inside))
    }

    /// The descriptors to wait for, each with its index for [`Output::pump`].
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let open = |(index, stream): (usize, &'_ Stream)| stream.pipe.as_ref().map(|_| index);
        self.streams
            .iter()
            .enumerate()
            .filter_map(open)
            .filter_map(|index| Some((index, self.streams.get(index)?.pipe.as_ref()?.as_fd())))
    }

    /// Carries what one stream has to say, once.
    pub(crate) fn pump(&mut self, index: usize) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        let mut buffer = [0u8; 16 * 1024];
        let read = stream.pipe.as_mut().map(|pipe| pipe.read(&mut buffer));
        match read {
            Some(Ok(length)) if length > 0 => stream.sink.write(&buffer[..length]),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => {
                stream.pipe = None;
                stream.sink.finish();
            }
        }
    }

    /// Carries what is left in the pipes, and does not wait for more: a process that outlived the
    /// container may hold them open.
    pub(crate) fn drain(&mut self) {
        for index in 0..self.streams.len() {
            while self.readable(index) {
                self.pump(index);
            }
            if let Some(stream) = self.streams.get_mut(index) {
                stream.sink.finish();
            }
        }
    }

    fn readable(&self, index: usize) -> bool {
        let Some(pipe) = self.streams.get(index).and_then(|stream| stream.pipe.as_ref()) else {
            return false;
        };
        let mut polled = [rustix::event::PollFd::new(pipe, rustix::event::PollFlags::IN)];
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
        Ok(Self { output: open()?, error: open()? })
    }
}

impl Sink {
    /// A destination that does not take it must not stop the container, ignoring.
    fn write(&mut self, bytes: &[u8]) {
        match self {
            Self::Own { error: false } => {
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(bytes).and_then(|()| out.flush());
            }
            Self::Own { error: true } => {
                let _ = std::io::stderr().write_all(bytes);
            }
            Self::Journal { journal, error, line } => {
                for byte in bytes {
                    if *byte != b'\n' {
                        line.push(*byte);
                    }
                    if *byte == b'\n' || line.len() >= LINE {
                        journal.write(line, *error);
                        line.clear();
                    }
                }
            }
        }
    }

    /// The last line may have no end.
    fn finish(&mut self) {
        if let Self::Journal { journal, error, line } = self
            && !line.is_empty()
        {
            journal.write(line, *error);
            line.clear();
        }
    }
}

fn pipe() -> Result<(PipeReader, PipeWriter), Error> {
    std::io::pipe().map_err(|error| Error::system("make a pipe", error))
}
