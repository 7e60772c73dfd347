//! What goes in and out of a program: its output to its destination and to who is attached, their
//! input to it, and what is asked of its supervisor.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::launch::control::protocol::Request;
use crate::launch::control::server::{self, Control};
use crate::launch::supervise::input::Input;
use crate::launch::supervise::output::{self, Output};
use crate::launch::supervise::{Signals, poll_until};
use crate::launch::terminal::Size;

/// Of one program that runs.
#[derive(Debug)]
pub(crate) struct Traffic<'a> {
    pub(crate) control: &'a mut Control,
    pub(crate) output: Output,
    pub(crate) input: Input,
}

/// What there is to carry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    Output(output::Turn),
    Input,
    Control(server::Turn),
}

impl Traffic<'_> {
    /// What to wait for, each with its turn for [`Traffic::take`].
    pub(super) fn sources(&self) -> Vec<(Turn, PollFd<'_>)> {
        let control = self.control.waiting(self.input.is_full());
        let control = control.map(|(turn, fd, flags)| (Turn::Control(turn), fd, flags));
        let output = self.output.waiting(!self.control.is_full());
        let output = output.map(|(turn, fd, flags)| (Turn::Output(turn), fd, flags));
        let input = self.input.stalled().map(|fd| (Turn::Input, fd, PollFlags::OUT));
        let all = control.chain(output).chain(input);
        all.map(|(turn, fd, flags)| (turn, PollFd::from_borrowed_fd(fd, flags))).collect()
    }

    /// Carries what one turn is for; what is asked is the supervisor's to carry out.
    pub(super) fn take(&mut self, turn: Turn) -> Option<Request> {
        match turn {
            Turn::Output(turn) => self.output.take(turn, self.control),
            Turn::Input => self.input.flush(),
            Turn::Control(turn) => match self.control.take(turn)? {
                Request::Attach => {}
                Request::Input(bytes) => self.input.give(&bytes),
                Request::EndOfInput => self.input.end(),
                Request::Size { rows, columns } => self.input.resize(Size { rows, columns }),
                asked => return Some(asked),
            },
        }
        None
    }

    /// After all turns of a round.
    pub(super) fn tidy(&mut self) {
        self.control.tidy();
    }

    /// When there is something to do by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.control.deadline()
    }

    /// How long the rest of the output may take; `None` without end.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.output.patience()
    }

    /// After the program's end: carries what is left of its output, until nobody is patient any more,
    /// or this process is told to end.
    pub(super) fn finish(&mut self, signals: &mut Signals, patience: Option<Duration>) {
        let until = patience.map(|patience| Instant::now() + patience);
        while !self.drain() && until.is_none_or(|until| Instant::now() < until) {
            if signals.check().is_err() {
                break;
            }
            let mut sources = vec![(None, signals.source())];
            sources.extend(self.sources().into_iter().map(|(turn, fd)| (Some(turn), fd)));
            let next = until.into_iter().chain(self.deadline()).min();
            let Ok(ready) = poll_until(sources, next) else { break };
            for turn in ready.into_iter().flatten() {
                self.take(turn);
            }
            self.tidy();
        }
        self.output.close();
    }

    /// Whether all is gone.
    fn drain(&mut self) -> bool {
        !self.control.is_full() && self.output.drain(self.control) && !self.control.is_full()
    }
}
