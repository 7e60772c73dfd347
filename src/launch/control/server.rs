//! The supervisor's end of its control socket.
//!
//! Architecture invariant: nothing here ever blocks. An asker that does not take what it is told
//! makes the container's output wait for a moment, and is let go then.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, listen, recv, send, socket_with,
};

use crate::launch::Error;
use crate::launch::control::protocol::{Answer, LONGEST, MOST_BYTES, Request};
use crate::launch::control::{SOCKET, short_path};

/// How many may ask at once; who comes then waits.
const MOST: usize = 32;
/// How long an asker may leave the container's output untaken.
const PATIENCE: Duration = Duration::from_secs(2);

/// The socket, and those who ask.
#[derive(Debug)]
pub(crate) struct Control {
    listener: Option<OwnedFd>,
    askers: Vec<Asker>,
}

#[derive(Debug)]
struct Asker {
    socket: OwnedFd,
    wants: Wants,
    untaken: VecDeque<Vec<u8>>,
    /// Since when it takes nothing.
    stalled: Option<Instant>,
    is_waited_for: bool,
    gone: bool,
}

/// What an asker is to hear.
#[derive(Debug, Default, Clone, Copy)]
struct Wants {
    output: bool,
    end: bool,
    start: bool,
    done: bool,
    check: bool,
}

/// What the socket can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Accept,
    Read(usize),
    Write(usize),
}

impl Turn {
    /// Whether somebody takes what is to be said.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Write(_))
    }
}

impl Control {
    /// For a program that nobody but who started it can be attached to.
    pub(crate) fn closed() -> Self {
        Self { listener: None, askers: Vec::new() }
    }

    /// Listens in `directory`, where an earlier supervisor's socket may still lie.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(SOCKET);
        let failed = |error: Errno| Error::file("listen at", &path, error.into());
        let opened =
            File::open(directory).map_err(|source| Error::file("open", directory, source))?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("remove", path, error));
            }
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(failed)?;
        let address = SocketAddrUnix::new(short_path(&opened)).map_err(failed)?;
        bind(&socket, &address).map_err(failed)?;
        // Its directory is root's alone; who may not write there may not ask either.
        rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o600)).map_err(failed)?;
        listen(&socket, 16).map_err(failed)?;
        Ok(Self { listener: Some(socket), askers: Vec::new() })
    }

    /// What to wait for, each with its turn for [`Control::take`].
    /// Who gives input is not heard while that is `full`.
    pub(crate) fn waiting(
        &self,
        full: bool,
    ) -> impl Iterator<Item = (Turn, BorrowedFd<'_>, PollFlags)> {
        let listener = self.listener.as_ref().filter(|_| self.askers.len() < MOST);
        let accept = listener.map(|socket| (Turn::Accept, socket.as_fd(), PollFlags::IN));
        let askers = self.askers.iter().enumerate().flat_map(move |(index, asker)| {
            let socket = asker.socket.as_fd();
            let heard = !(full && asker.wants.output);
            let read = heard.then_some((Turn::Read(index), socket, PollFlags::IN));
            let write = !asker.untaken.is_empty();
            let write = write.then_some((Turn::Write(index), socket, PollFlags::OUT));
            read.into_iter().chain(write)
        });
        accept.into_iter().chain(askers)
    }

    /// Does what one turn is for; a request is the supervisor's to carry out. To be called once for
    /// what was waited for: then [`Control::tidy`].
    pub(crate) fn take(&mut self, turn: Turn) -> Option<Request> {
        match turn {
            Turn::Accept => {
                self.accept();
                None
            }
            Turn::Read(index) => self.askers.get_mut(index)?.read(),
            Turn::Write(index) => {
                self.askers.get_mut(index)?.flush();
                None
            }
        }
    }

    /// For who is attached.
    pub(crate) fn carry(&mut self, error: bool, bytes: &[u8]) {
        for piece in bytes.chunks(MOST_BYTES) {
            let answer = match error {
                true => Answer::Error(piece.to_vec()),
                false => Answer::Output(piece.to_vec()),
            };
            for asker in self.askers.iter_mut().filter(|asker| asker.wants.output) {
                asker.tell(&answer);
            }
        }
    }

    /// Whether somebody who is attached has to take what there is first.
    pub(crate) fn is_full(&self) -> bool {
        self.askers.iter().any(|asker| !asker.gone && !asker.untaken.is_empty())
    }

    /// Whoever started the program is attached to it from its beginning, and the program waits for
    /// them as long as it takes.
    pub(crate) fn adopt(&mut self, socket: OwnedFd) {
        let mut asker = Asker::new(socket);
        asker.wants.output = true;
        asker.is_waited_for = true;
        self.askers.push(asker);
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        if let Some(Ok(socket)) = self.listener.as_ref().map(|from| accept_with(from, flags)) {
            self.askers.push(Asker::new(socket));
        }
    }

    /// Forgets those who went, and lets go who takes nothing for too long.
    pub(crate) fn tidy(&mut self) {
        self.askers.retain(|asker| {
            !asker.gone && asker.patience_ends().is_none_or(|end| Instant::now() < end)
        });
    }

    /// When there is somebody to let go.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.askers.iter().filter_map(Asker::patience_ends).min()
    }

    /// The container has been started again.
    pub(crate) fn started(&mut self) {
        for asker in self.askers.iter_mut().filter(|asker| asker.wants.start) {
            asker.wants.start = false;
            asker.tell(&Answer::Started);
        }
    }

    /// Whether it has the name that was asked for; who asked in vain is hung up on.
    pub(crate) fn done(&mut self, well: bool) {
        for asker in self.askers.iter_mut().filter(|asker| asker.wants.done) {
            asker.wants.done = false;
            if well {
                asker.tell(&Answer::Done);
            } else {
                asker.gone = true;
            }
        }
    }

    /// Its health has been checked.
    pub(crate) fn checked(&mut self, passed: bool) {
        for asker in self.askers.iter_mut().filter(|asker| asker.wants.check) {
            asker.wants.check = false;
            asker.tell(&Answer::Checked(passed));
        }
    }

    /// The container has ended, with this status: nobody has more to hear of this run.
    pub(crate) fn ended(&mut self, status: u8) {
        for asker in &mut self.askers {
            if asker.wants.end || asker.wants.output {
                asker.wants = Wants { end: false, output: false, ..asker.wants };
                asker.tell(&Answer::Ended(status));
            }
        }
    }
}

impl Asker {
    fn new(socket: OwnedFd) -> Self {
        let wants = Wants::default();
        let untaken = VecDeque::new();
        Self { socket, wants, untaken, stalled: None, is_waited_for: false, gone: false }
    }

    fn patience_ends(&self) -> Option<Instant> {
        self.stalled.filter(|_| !self.is_waited_for).map(|since| since + PATIENCE)
    }

    fn read(&mut self) -> Option<Request> {
        let mut buffer = [0u8; LONGEST];
        match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) if length > 0 => {
                let request = Request::decode(&buffer[..length])?;
                match request {
                    Request::Attach => self.wants.output = true,
                    Request::Await => self.wants.end = true,
                    Request::Restart(_) => self.wants.start = true,
                    Request::Name(_) => self.wants.done = true,
                    Request::Check => self.wants.check = true,
                    _ => {}
                }
                Some(request)
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            _ => {
                self.gone = true;
                None
            }
        }
    }

    fn tell(&mut self, answer: &Answer) {
        self.untaken.push_back(answer.encode());
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(packet) = self.untaken.front() {
            match send(&self.socket, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(_) => drop(self.untaken.pop_front()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return;
                }
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
            self.stalled = None;
        }
    }
}
