//! The asker's end of a control socket.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

use crate::launch::control::protocol::{Answer, LONGEST, Request};
use crate::launch::control::{directory, short_path};
use crate::store::containers::Record;

/// A connection to a container's supervisor.
#[derive(Debug)]
pub(crate) struct Connection(OwnedFd);

impl Connection {
    /// # Errors
    /// Where no supervisor listens: the container has none, or it was killed.
    pub(crate) fn open(record: &Record) -> io::Result<Self> {
        let directory = File::open(directory(record))?;
        let address = SocketAddrUnix::new(short_path(&directory))?;
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &address)?;
        Ok(Self(socket))
    }

    pub(crate) fn ask(&self, request: &Request) -> io::Result<()> {
        send(&self.0, &request.encode(), SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The same without waiting; `false` where the supervisor takes no more for now.
    pub(crate) fn try_ask(&self, request: &Request) -> io::Result<bool> {
        match send(&self.0, &request.encode(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            // The answers tell what became of it.
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(true),
            sent => sent.map(|_| true).map_err(Into::into),
        }
    }

    /// The next answer; `None` where the supervisor has gone.
    pub(crate) fn answer(&self) -> io::Result<Option<Answer>> {
        let mut buffer = vec![0; LONGEST];
        loop {
            let length = match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
                // It went without having heard all we said; what it said is still to be read.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => continue,
                received => received?.0,
            };
            match Answer::decode(&buffer[..length]) {
                None if length == 0 => return Ok(None),
                // A newer supervisor's word, ignoring.
                None => {}
                answer => return Ok(answer),
            }
        }
    }

    /// From here on, an answer that takes longer is an error.
    pub(crate) fn be_patient(&self, patience: Duration) -> io::Result<()> {
        Ok(set_socket_timeout(&self.0, Timeout::Recv, Some(patience))?)
    }

    /// Waits for the container's end; its exit status, `None` where the supervisor was killed.
    pub(crate) fn end(&self) -> io::Result<Option<u8>> {
        loop {
            match self.answer()? {
                Some(Answer::Ended(status)) => return Ok(Some(status)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}

impl From<OwnedFd> for Connection {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
