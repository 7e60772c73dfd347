//! The destination of one of a container's streams: it takes what it can without blocking, and
//! keeps a bounded rest.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SendFlags, send};

use crate::launch::Error;
use crate::launch::logs::file::LogFile;
use crate::launch::supervise::journal::Journal;

/// The longest line written as one, in bytes; a longer one is cut (LineMax= of journald.conf(5)).
const LINE: usize = 48 * 1024;
/// How much may wait for a destination, in bytes: more than a line.
pub(super) const ROOM: usize = 64 * 1024;
/// What a pipe that is ready takes without blocking, in bytes (pipe(7)).
const PIECE: usize = 4096;

/// A stream's destination, and what it has not taken yet.
#[derive(Debug)]
pub(super) struct Sink {
    to: Destination,
    pending: Vec<u8>,
    /// The destination took no more; it is to be waited for.
    stalled: bool,
    /// The stream has ended: its last line may have no end.
    ended: bool,
    lost: u64,
}

#[derive(Debug)]
enum Destination {
    Own(Own),
    Journal {
        journal: Rc<Journal>,
        error: bool,
    },
    File {
        file: Rc<RefCell<LogFile>>,
        error: bool,
    },
    /// Whoever read it has gone.
    Nobody,
}

/// Our own standard output or error, which others may share: it is not made non-blocking.
#[derive(Debug)]
struct Own {
    file: File,
    how: How,
}

#[derive(Debug)]
enum How {
    /// A file, or a description of our own that does not block.
    Plain,
    Socket,
    /// In pieces that fit, when it is ready.
    Careful,
}

impl Sink {
    /// Our own standard output, or standard error.
    pub(super) fn own(error: bool) -> Result<Self, Error> {
        let own = if error { Self::to(&io::stderr()) } else { Self::to(&io::stdout()) };
        own.map_err(|error| Error::system("use our own output", error))
    }

    pub(super) fn journal(journal: Rc<Journal>, error: bool) -> Self {
        Self::new(Destination::Journal { journal, error })
    }

    /// Nobody but who is attached.
    pub(super) fn nobody() -> Self {
        Self::new(Destination::Nobody)
    }

    pub(super) fn file(file: Rc<RefCell<LogFile>>, error: bool) -> Self {
        Self::new(Destination::File { file, error })
    }

    pub(super) fn to(fd: &impl AsFd) -> io::Result<Self> {
        Own::open(fd.as_fd()).map(|own| Self::new(Destination::Own(own)))
    }

    fn new(to: Destination) -> Self {
        Self { to, pending: Vec::new(), stalled: false, ended: false, lost: 0 }
    }

    /// How much more it can be given, in bytes.
    pub(super) fn room(&self) -> usize {
        ROOM.saturating_sub(self.pending.len())
    }

    pub(super) fn is_journal(&self) -> bool {
        matches!(self.to, Destination::Journal { .. })
    }

    /// What to wait for before [`Sink::flush`] gets any further.
    pub(super) fn stalled(&self) -> Option<BorrowedFd<'_>> {
        match &self.to {
            _ if !self.stalled => None,
            Destination::Own(own) => Some(own.file.as_fd()),
            Destination::Journal { journal, .. } => Some(journal.as_fd()),
            // A file's writes wait for the disk, and for nobody.
            Destination::File { .. } | Destination::Nobody => None,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.flush();
    }

    /// The stream has ended.
    pub(super) fn finish(&mut self) {
        self.ended = true;
        self.flush();
    }

    /// Gives up what is left; how many pieces were lost in all.
    pub(super) fn close(&mut self) -> u64 {
        let left = u64::from(!self.pending.is_empty() && !matches!(self.to, Destination::Nobody));
        self.pending.clear();
        self.stalled = false;
        std::mem::take(&mut self.lost) + left
    }

    /// Hands over what the destination takes.
    pub(super) fn flush(&mut self) {
        self.stalled = false;
        let mut done = 0;
        while let Some(piece) = self.piece(done) {
            let (length, taken) = match &self.to {
                Destination::Own(own) => (piece.len(), own.write(piece)),
                Destination::Journal { journal, error } => {
                    let (line, whole) = self.line(piece);
                    (piece.len(), journal.write(line, *error, whole).map(|()| piece.len()))
                }
                Destination::File { file, error } => {
                    let (line, whole) = self.line(piece);
                    let written = file.borrow_mut().write(line, *error, whole);
                    (piece.len(), written.map(|()| piece.len()))
                }
                Destination::Nobody => (piece.len(), Ok(piece.len())),
            };
            match taken {
                Ok(taken) => done += taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stalled = true;
                    break;
                }
                // A destination that is gone must not stop the container.
                Err(_) if matches!(self.to, Destination::Own(_)) => self.to = Destination::Nobody,
                Err(_) => {
                    self.lost += 1;
                    done += length;
                }
            }
        }
        self.pending.drain(..done);
    }

    /// A piece without its end, and whether the line ends with it.
    fn line<'a>(&self, piece: &'a [u8]) -> (&'a [u8], bool) {
        match piece.strip_suffix(b"\n") {
            // As a terminal ends a line.
            Some(line) => (line.strip_suffix(b"\r").unwrap_or(line), true),
            None => (piece, self.ended && piece.len() < LINE),
        }
    }

    /// What to hand over next: for a log a line with its end, else all there is.
    fn piece(&self, from: usize) -> Option<&[u8]> {
        let rest = self.pending.get(from..).filter(|rest| !rest.is_empty())?;
        if !matches!(self.to, Destination::Journal { .. } | Destination::File { .. }) {
            return Some(rest);
        }
        let line = rest.iter().take(LINE).position(|byte| *byte == b'\n').map(|end| end + 1);
        let whole = if rest.len() >= LINE { Some(LINE) } else { self.ended.then_some(rest.len()) };
        line.or(whole).and_then(|length| rest.get(..length))
    }
}

impl Own {
    fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let file = File::from(fd.try_clone_to_owned()?);
        let kind = file.metadata()?.file_type();
        if kind.is_file() {
            return Ok(Self { file, how: How::Plain });
        }
        if kind.is_socket() {
            return Ok(Self { file, how: How::Socket });
        }
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        // Opened again, it is ours alone.
        Ok(match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Ok(file) => Self { file, how: How::Plain },
            Err(_) => Self { file, how: How::Careful },
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.how {
            How::Plain => (&self.file).write(bytes),
            How::Socket => Ok(send(&self.file, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?),
            How::Careful => {
                let mut polled = [PollFd::new(&self.file, PollFlags::OUT)];
                let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
                match poll(&mut polled, Some(&now))? {
                    0 => Err(ErrorKind::WouldBlock.into()),
                    _ => (&self.file).write(&bytes[..bytes.len().min(PIECE)]),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_journal_that_stalls_is_waited_for_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Rc::new(Journal::at(&path, Vec::new()).unwrap());
        let mut sink = Sink::journal(journal, false);
        let mut sent = 0;
        while sink.stalled().is_none() {
            sink.write(b"line\n");
            sent += 1;
            assert!(sent < 100_000, "it takes without end");
        }
        sink.write(b"the end");
        sink.finish();
        let mut buffer = [0u8; 200];
        let mut lines = Vec::new();
        while lines.len() <= sent {
            let length = journald.recv(&mut buffer).unwrap();
            let entry = String::from_utf8_lossy(&buffer[..length]).into_owned();
            lines.push(entry.trim_end().rsplit('\0').next().unwrap_or_default().to_owned());
            sink.flush();
        }
        assert_eq!((lines.len(), sink.close()), (sent + 1, 0));
        assert_eq!(lines.last().unwrap(), "the end");
    }

    #[test]
    fn a_reader_that_left_is_no_reason_to_stop() {
        let (reader, writer) = io::pipe().unwrap();
        let mut sink = Sink::to(&writer).unwrap();
        drop(reader);
        sink.write(b"unheard");
        sink.finish();
        assert!(sink.stalled().is_none() && sink.room() == ROOM);
        assert_eq!(sink.close(), 0);
    }

    #[test]
    fn a_file_that_is_shared_is_written_on_where_others_are() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut shared = file.reopen().unwrap();
        shared.write_all(b"before ").unwrap();
        let mut sink = Sink::to(&shared).unwrap();
        sink.write(b"inside ");
        shared.write_all(b"after").unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "before inside after");
    }
}
