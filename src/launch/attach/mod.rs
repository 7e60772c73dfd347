//! The caller's side of a program that somebody else supervises: its output to ours, our input and
//! signals to it, our terminal as it needs it.

pub(crate) mod keys;

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};

use crate::launch::Error;
use crate::launch::attach::keys::{Keys, Matcher};
use crate::launch::control::connection::Connection;
use crate::launch::control::protocol::{Answer, MOST_BYTES, Request};
use crate::launch::supervise::{self, Signals, poll_until};
use crate::launch::terminal::{self, Raw, Size};

/// How somebody is attached.
#[derive(Debug)]
pub(crate) struct Manner {
    /// Our standard input is the program's.
    pub(crate) input: bool,
    /// The program has a terminal.
    pub(crate) terminal: bool,
    /// Signals that come for us are the program's.
    pub(crate) signals: bool,
    pub(crate) keys: Keys,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    /// The program ended, with this status.
    Ended(u8),
    /// The keys were typed: it goes on.
    Detached,
}

/// Carries everything until the program's end, or ours.
///
/// # Errors
/// Where the supervisor was killed, or let us go because we took nothing for too long.
pub(crate) fn attach(connection: &Connection, manner: &Manner) -> Result<Parting, Error> {
    let mut signals = Signals::take()?;
    let stdin = std::io::stdin();
    let is_typed = manner.input && stdin.is_terminal();
    // Put back however this ends.
    let raw = if is_typed && manner.terminal { Raw::enter() } else { None };
    let mut caller = Caller {
        connection,
        manner,
        input: manner.input,
        keys: Matcher::new(if is_typed { manner.keys.clone() } else { Keys::none() }),
        unsent: Vec::new(),
    };
    if manner.terminal {
        caller.resize()?;
    }
    let parted = caller.carry(&mut signals);
    drop(raw);
    match parted {
        Err(Error::Interrupted { signal }) => {
            supervise::end_by(signal);
            Err(Error::Interrupted { signal })
        }
        parted => parted,
    }
}

struct Caller<'a> {
    connection: &'a Connection,
    manner: &'a Manner,
    /// Not ended yet.
    input: bool,
    keys: Matcher,
    /// What the supervisor does not take yet.
    unsent: Vec<Request>,
}

#[derive(Clone, Copy)]
enum Event {
    Signal,
    Answer,
    Room,
    Input,
}

impl Caller<'_> {
    fn carry(&mut self, signals: &mut Signals) -> Result<Parting, Error> {
        loop {
            while let Some(signal) = signals.next() {
                self.pass_on(signal)?;
            }
            let mut sources = vec![(Event::Signal, signals.source())];
            sources.push((Event::Answer, PollFd::new(self.connection, PollFlags::IN)));
            let stdin = std::io::stdin();
            if !self.unsent.is_empty() {
                sources.push((Event::Room, PollFd::new(self.connection, PollFlags::OUT)));
            } else if self.input {
                let flags = PollFlags::IN;
                sources.push((Event::Input, PollFd::from_borrowed_fd(stdin.as_fd(), flags)));
            }
            for event in poll_until(sources, None)? {
                let parting = match event {
                    Event::Signal => None,
                    Event::Answer => self.hear()?,
                    Event::Room => self.flush()?,
                    Event::Input => self.read()?,
                };
                if let Some(parting) = parting {
                    return Ok(parting);
                }
            }
        }
    }

    fn hear(&mut self) -> Result<Option<Parting>, Error> {
        let answer = self.connection.answer().map_err(lost)?;
        let write = |mut to: Box<dyn Write>, bytes: &[u8]| {
            // Whoever reads our output may have gone: the program goes on without.
            let _ = to.write_all(bytes).and_then(|()| to.flush());
        };
        match answer {
            Some(Answer::Output(bytes)) => write(Box::new(std::io::stdout()), &bytes),
            Some(Answer::Error(bytes)) => write(Box::new(std::io::stderr()), &bytes),
            Some(Answer::Ended(status)) => return Ok(Some(Parting::Ended(status))),
            Some(_) => {}
            None => return Err(lost(ErrorKind::ConnectionReset.into())),
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<Option<Parting>, Error> {
        let mut buffer = [0u8; MOST_BYTES];
        match std::io::stdin().read(&mut buffer) {
            Ok(length) if length > 0 => {
                let (typed, detached) = self.keys.take(&buffer[..length]);
                for piece in typed.chunks(MOST_BYTES) {
                    self.unsent.push(Request::Input(piece.to_vec()));
                }
                self.flush()?;
                Ok(detached.then_some(Parting::Detached))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            _ => {
                self.input = false;
                self.unsent.push(Request::EndOfInput);
                self.flush()
            }
        }
    }

    fn flush(&mut self) -> Result<Option<Parting>, Error> {
        while let Some(request) = self.unsent.first() {
            if !self.connection.try_ask(request).map_err(lost)? {
                break;
            }
            self.unsent.remove(0);
        }
        Ok(None)
    }

    fn resize(&mut self) -> Result<(), Error> {
        if let Some(Size { rows, columns }) = terminal::size() {
            self.unsent.push(Request::Size { rows, columns });
            self.flush()?;
        }
        Ok(())
    }

    fn pass_on(&mut self, signal: i32) -> Result<(), Error> {
        match signal {
            libc::SIGWINCH if self.manner.terminal => self.resize(),
            libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH => Ok(()),
            signal if self.manner.signals => {
                let number = u8::try_from(signal).unwrap_or(0);
                self.unsent.push(Request::Signal(number));
                self.flush().map(drop)
            }
            signal if supervise::ENDING.contains(&signal) => Err(Error::Interrupted { signal }),
            _ => Ok(()),
        }
    }
}

fn lost(source: std::io::Error) -> Error {
    Error::Lost { source }
}
