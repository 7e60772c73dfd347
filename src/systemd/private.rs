//! systemd's own socket, which `systemctl` speaks to: the way to the manager where there is no bus.
//!
//! D-Bus is spoken there, peer to peer. systemd signs what it sends with its well-known name, where
//! only the unique name that a bus gives may stand. `zbus` takes no such message: [`header`] takes the
//! name out.

mod header;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zbus::connection::Builder;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::{Connection, Message};

use super::Error;

/// The socket of the manager whose running state lies in `run`, such as `/run`.
pub fn socket(run: &Path) -> PathBuf {
    run.join("systemd/private")
}

/// Connects to the manager behind `socket`.
///
/// # Errors
/// Where no systemd listens there, or not to us.
pub(super) async fn connect(socket: &Path) -> Result<Connection, Error> {
    let failed = |source| Error::Private { path: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).await.map_err(|error| failed(error.into()))?;
    Builder::socket(Direct(stream)).p2p().build().await.map_err(failed)
}

/// A connection to systemd itself.
#[derive(Debug)]
struct Direct(UnixStream);

#[derive(Debug)]
struct Reader(OwnedReadHalf);

#[derive(Debug)]
struct Writer(OwnedWriteHalf);

impl Socket for Direct {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (read, write) = self.0.into_split();
        Split::new(Reader(read), Writer(write))
    }
}

#[async_trait]
impl ReadHalf for Reader {
    /// A whole message. `received` is what came behind the handshake.
    async fn receive_message(
        &mut self,
        position: u64,
        received: &mut Vec<u8>,
        descriptors: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        let mut message = Vec::new();
        self.fill(&mut message, header::FIXED, received).await?;
        let length = header::total_length(&message)?;
        self.fill(&mut message, length, received).await?;
        let mut message = header::without_sender(message);
        Nothing.receive_message(position, &mut message, descriptors).await
    }

    /// No call of ours is answered with file descriptors.
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        Ok((self.0.read(buffer).await?, Vec::new()))
    }
}

impl Reader {
    /// Reads on until `message` has `length` bytes, those of `received` first.
    async fn fill(
        &mut self,
        message: &mut Vec<u8>,
        length: usize,
        received: &mut Vec<u8>,
    ) -> io::Result<()> {
        let held = received.len().min(length - message.len());
        message.extend(received.drain(..held));
        let at = message.len();
        message.resize(length, 0);
        self.0.read_exact(&mut message[at..]).await.map(|_| ())
    }
}

/// The end of a message that is in memory as a whole: `zbus` finds no more than what it has.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl ReadHalf for Nothing {
    async fn recvmsg(&mut self, _buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        Ok((0, Vec::new()))
    }
}

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

#[cfg(test)]
mod tests;
