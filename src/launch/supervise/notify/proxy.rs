//! The socket that a container writes to instead of the service manager's.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::event::PollFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use super::message::filter;
use super::{MAX_DESCRIPTORS, Message, Notifier};
use crate::disk;

/// The longest datagram that the manager takes, in bytes (systemd's NOTIFY_BUFFER_MAX).
const LONGEST: usize = 4096;
/// How many datagrams of a container are passed on before others have their turn.
const ROUND: usize = 64;

/// The socket that a container writes to instead of the service manager's.
#[derive(Debug)]
pub(crate) struct Proxy {
    socket: UnixDatagram,
    /// Read, and not taken by the manager yet.
    held: Option<Message>,
}

impl Proxy {
    /// Makes `notify.sock` in `directory`, writable for every user of the container.
    pub(crate) fn bind(directory: &Path) -> io::Result<Self> {
        // That of the container's last run is in the way.
        disk::remove_tree(directory)?;
        std::fs::create_dir(directory)?;
        let opened = OwnedFd::from(std::fs::File::open(directory)?);
        // Through the descriptor: the whole path may be longer than sun_path.
        let path = format!("/proc/self/fd/{}/notify.sock", opened.as_raw_fd());
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Self { socket, held: None })
    }

    /// What to wait for before [`Proxy::forward`] has something to do.
    pub(crate) fn waiting<'a>(&'a self, to: &'a Notifier) -> (BorrowedFd<'a>, PollFlags) {
        match (&self.held, &to.0) {
            (Some(_), Some(manager)) => (manager.as_fd(), PollFlags::OUT),
            _ => (self.socket.as_fd(), PollFlags::IN),
        }
    }

    /// Passes on what waits in the socket, filtered, as far as the manager takes it: a container
    /// that talks without end holds nobody else up. One after the other, so that a barrier comes
    /// behind what it is to wait for.
    pub(crate) fn forward(&mut self, to: &Notifier) {
        for _ in 0..ROUND {
            let message = match self.held.take() {
                Some(message) => message,
                None => match self.receive() {
                    Ok(Some(message)) => message,
                    Ok(None) => continue,
                    Err(_) => return,
                },
            };
            if !to.try_send(&message) {
                self.held = Some(message);
                return;
            }
        }
    }

    /// The next datagram's allowed part; `None` where nothing of it is.
    fn receive(&self) -> rustix::io::Result<Option<Message>> {
        let mut bytes = [0u8; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.socket, parts, &mut control, flags)?;
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        let is_whole = !received.flags.contains(ReturnFlags::TRUNC);
        let datagram = bytes.get(..received.bytes).filter(|_| is_whole).unwrap_or_default();
        let filtered = filter(datagram, descriptors.len());
        let passes_on = filtered.as_ref().is_some_and(|filtered| filtered.with_descriptors);
        if !passes_on {
            descriptors.drain(..).for_each(close);
        }
        Ok(filtered.map(|filtered| Message { text: filtered.text, descriptors }))
    }
}

/// Closes what a container passed without need. It may be the last to hold a socket that lingers,
/// whose close would wait for the peer.
fn close(descriptor: OwnedFd) {
    // Where it is no socket there is nothing to wait for, ignoring.
    let _ = rustix::net::sockopt::set_socket_linger(&descriptor, None);
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read, Write};
    use std::os::unix::net::{SocketAddr, UnixStream};
    use std::path::PathBuf;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    /// A manager, what is between, and a container.
    struct Line {
        _directory: tempfile::TempDir,
        manager: UnixDatagram,
        notifier: Notifier,
        proxy: Proxy,
        container: UnixDatagram,
        socket: PathBuf,
    }

    impl Line {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("manager");
            let manager = UnixDatagram::bind(&path).unwrap();
            let address = SocketAddr::from_pathname(&path).unwrap();
            let notifier = Notifier(Some(Notifier::connect(&address).unwrap()));
            let inside = directory.path().join("notify");
            let proxy = Proxy::bind(&inside).unwrap();
            let container = UnixDatagram::unbound().unwrap();
            let socket = inside.join("notify.sock");
            container.connect(&socket).unwrap();
            Self { _directory: directory, manager, notifier, proxy, container, socket }
        }

        fn forward(&mut self) {
            self.proxy.forward(&self.notifier);
        }

        fn hear(&self) -> String {
            let mut buffer = [0u8; 8192];
            let length = self.manager.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        }

        fn pass(&self, text: &str, descriptor: &OwnedFd) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = [descriptor.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
            let parts = [IoSlice::new(text.as_bytes())];
            sendmsg(&self.container, &parts, &mut control, SendFlags::empty()).unwrap();
        }
    }

    #[test]
    fn the_proxy_forwards() {
        let mut line = Line::new();
        line.container.send_to(b"MAINPID=7\nREADY=1", &line.socket).unwrap();
        line.forward();
        assert_eq!(line.hear(), "READY=1");
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let mut line = Line::new();
        line.container.send(&[b"READY=1\nSTATUS=", &[b'x'; LONGEST][..]].concat()).unwrap();
        line.container.send(b"READY=1").unwrap();
        line.forward();
        assert_eq!(line.hear(), "READY=1");
    }

    #[test]
    fn descriptors_to_be_stored_arrive_and_others_are_closed() {
        let mut line = Line::new();
        let (mut own, passed) = UnixStream::pair().unwrap();
        let passed = OwnedFd::from(passed);
        line.pass("READY=1", &passed);
        line.pass("FDSTORE=1\nFDNAME=x", &passed);
        drop(passed);
        line.forward();
        assert_eq!(line.hear(), "READY=1");
        let mut bytes = [0u8; 100];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        recvmsg(&line.manager, parts, &mut control, RecvFlags::empty()).unwrap();
        let stored: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(rights) => Some(rights),
                _ => None,
            })
            .flatten()
            .collect();
        let [stored] = <[OwnedFd; 1]>::try_from(stored).unwrap();
        UnixStream::from(stored).write_all(b"kept").unwrap();
        // The manager's was the last that was open.
        let mut text = String::new();
        own.read_to_string(&mut text).unwrap();
        assert_eq!(text, "kept");
    }

    #[test]
    fn a_barrier_is_lifted_by_the_manager() {
        let mut line = Line::new();
        let (mut waiting, barrier) = UnixStream::pair().unwrap();
        waiting.set_nonblocking(true).unwrap();
        line.container.send(b"READY=1").unwrap();
        let barrier = OwnedFd::from(barrier);
        line.pass("BARRIER=1", &barrier);
        drop(barrier);
        line.forward();
        let closed = |waiting: &mut UnixStream| matches!(waiting.read(&mut [0]), Ok(0));
        assert!(!closed(&mut waiting));
        assert_eq!(line.hear(), "READY=1");
        assert!(!closed(&mut waiting));
        // Without room for descriptors, they are closed on arrival.
        assert_eq!(line.hear(), "BARRIER=1");
        assert!(closed(&mut waiting));
    }

    #[test]
    fn a_manager_that_stalls_holds_nobody_up_and_misses_nothing() {
        let mut line = Line::new();
        let mut full = 0;
        while line.notifier.try_send(&Message::of("STATUS=busy")) {
            full += 1;
            assert!(full < 100_000, "it takes without end");
        }
        line.container.send(b"READY=1").unwrap();
        line.forward();
        assert_eq!(line.proxy.waiting(&line.notifier).1, PollFlags::OUT);
        for _ in 0..full {
            line.hear();
        }
        line.forward();
        assert_eq!(line.proxy.waiting(&line.notifier).1, PollFlags::IN);
        assert_eq!(line.hear(), "READY=1");
    }
}
