//! A container's standard input, as far as it takes what those who are attached give it.
//!
//! Architecture invariant: nothing here ever blocks. A container that does not read makes those who
//! write wait, never the supervisor.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::launch::Error;
use crate::launch::args::ProcessFlags;
use crate::launch::runtime::Streams;
use crate::launch::terminal::{Size, resize};

/// How much may wait for the container, in bytes.
const ROOM: usize = 64 * 1024;
/// End of file, as it is typed: `VEOF` of termios(3).
const END_OF_TRANSMISSION: u8 = 4;

/// The pipe that a container's standard input is, where it is to have one.
pub(crate) fn open(flags: &ProcessFlags, streams: &mut Streams) -> Result<Input, Error> {
    if flags.tty || !flags.interactive {
        return Ok(Input::default());
    }
    let (reader, writer) = std::io::pipe().map_err(|error| Error::system("make a pipe", error))?;
    streams.input = Some(reader.into());
    Input::pipe(writer.into())
}

/// Our end of a standard input, or of a terminal.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// `None` where there is none, or it has ended.
    to: Option<File>,
    is_terminal: bool,
    pending: Vec<u8>,
    ended: bool,
    stalled: bool,
}

impl Input {
    pub(crate) fn pipe(to: OwnedFd) -> Result<Self, Error> {
        Self::open(to, false)
    }

    /// Of a terminal, which takes its size in any case, and input where it is to.
    pub(crate) fn terminal(master: &OwnedFd, interactive: bool) -> Result<Self, Error> {
        let failed = |error| Error::system("use the container's terminal", error);
        let input = Self::open(master.try_clone().map_err(failed)?, true)?;
        Ok(Self { ended: !interactive, ..input })
    }

    fn open(to: OwnedFd, is_terminal: bool) -> Result<Self, Error> {
        let failed = |error| Error::system("use the container's input", error);
        let flags = fcntl_getfl(&to).map_err(failed)?;
        fcntl_setfl(&to, flags | OFlags::NONBLOCK).map_err(failed)?;
        Ok(Self { to: Some(to.into()), is_terminal, ..Self::default() })
    }

    /// Whether it takes no more for now.
    pub(super) fn is_full(&self) -> bool {
        self.to.is_some() && self.pending.len() >= ROOM
    }

    /// What to wait for before [`Input::flush`] gets any further.
    pub(super) fn stalled(&self) -> Option<BorrowedFd<'_>> {
        self.to.as_ref().filter(|_| self.stalled).map(AsFd::as_fd)
    }

    pub(super) fn give(&mut self, bytes: &[u8]) {
        if self.to.is_some() && !self.ended {
            self.pending.extend_from_slice(bytes);
            self.flush();
        }
    }

    /// Nobody gives any more. A terminal stays: others may be attached later.
    pub(super) fn end(&mut self) {
        if self.is_terminal {
            self.give(&[END_OF_TRANSMISSION]);
        } else {
            self.ended = true;
            self.flush();
        }
    }

    pub(super) fn flush(&mut self) {
        self.stalled = false;
        while let Some(to) = self.to.as_mut().filter(|_| !self.pending.is_empty()) {
            match to.write(&self.pending) {
                Ok(taken) => drop(self.pending.drain(..taken)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stalled = true;
                    return;
                }
                // The container has closed it.
                Err(_) => {
                    self.to = None;
                    self.pending.clear();
                }
            }
        }
        if self.ended && !self.is_terminal {
            self.to = None;
        }
    }

    /// Where it is a terminal, its size.
    pub(super) fn resize(&self, size: Size) {
        if let Some(terminal) = self.to.as_ref().filter(|_| self.is_terminal) {
            resize(terminal, size);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_container_that_does_not_read_holds_nobody_up_and_misses_nothing() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut input = Input::pipe(writer.into()).unwrap();
        let mut given = 0;
        while !input.is_full() {
            input.give(&[b'x'; 4096]);
            given += 4096;
            assert!(given < (4 << 20), "it takes without end");
        }
        assert!(input.stalled().is_some());
        input.end();
        let (mut read, mut buffer) = (0, [0u8; 4096]);
        while input.to.is_some() {
            read += reader.read(&mut buffer).unwrap();
            input.flush();
        }
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(read + rest.len(), given);
    }

    #[test]
    fn a_container_that_closed_it_is_no_reason_to_stop() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut input = Input::pipe(writer.into()).unwrap();
        drop(reader);
        input.give(b"unread");
        assert!(input.stalled().is_none() && !input.is_full());
    }
}
