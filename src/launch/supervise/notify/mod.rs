//! sd_notify(3): what the launcher tells the service manager, and what of a container's words it
//! passes on.

mod message;
mod proxy;

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

pub(crate) use proxy::Proxy;

/// Where the container finds its notification socket.
pub(crate) const SOCKET_IN_CONTAINER: &str = "/run/notify/notify.sock";
/// The directory that holds it, in the container.
pub(crate) const DIRECTORY_IN_CONTAINER: &str = "/run/notify";

/// The most descriptors of one datagram (the kernel's SCM_MAX_FD).
const MAX_DESCRIPTORS: usize = 253;

/// The service manager's notification socket, where there is one.
#[derive(Debug)]
pub(crate) struct Notifier(Option<UnixDatagram>);

/// How long the manager may take to make room for what it must hear.
const PATIENCE: Duration = Duration::from_secs(2);

/// One datagram to the manager.
#[derive(Debug)]
struct Message {
    text: String,
    descriptors: Vec<OwnedFd>,
}

impl Message {
    fn of(text: &str) -> Self {
        Self { text: text.to_owned(), descriptors: Vec::new() }
    }
}

impl Notifier {
    /// From `$NOTIFY_SOCKET`; one that cannot be used is the same as none.
    pub(crate) fn from_environment() -> Self {
        let open = || {
            let path = std::env::var_os("NOTIFY_SOCKET")?;
            let address = match path.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name).ok()?,
                None => SocketAddr::from_pathname(&path).ok()?,
            };
            Self::connect(&address).ok()
        };
        Self(open())
    }

    fn connect(address: &SocketAddr) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        // So that it can be waited for.
        socket.connect_addr(address)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Sends what the manager must hear, and waits a moment where it is busy. A failure is not
    /// worth failing a container for, ignoring.
    pub(crate) fn send(&self, text: &str) {
        let Some(socket) = &self.0 else { return };
        let message = Message::of(text);
        if self.try_send(&message) {
            return;
        }
        let mut polled = [PollFd::new(socket, PollFlags::OUT)];
        let patience = rustix::time::Timespec::try_from(PATIENCE).ok();
        let _ = poll(&mut polled, patience.as_ref());
        let _ = self.try_send(&message);
    }

    /// Sends; `false` where the manager takes nothing more for now.
    fn try_send(&self, message: &Message) -> bool {
        let Some(socket) = &self.0 else { return true };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = message.descriptors.iter().map(AsFd::as_fd).collect();
        if !descriptors.is_empty() {
            // There is room: no datagram brings more than so many.
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let parts = [IoSlice::new(message.text.as_bytes())];
        let sent = sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL);
        !matches!(sent, Err(Errno::AGAIN))
    }

    /// Asks that the start, or the stop, may take so much longer from now on.
    pub(crate) fn extend(&self, by: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }
}
