//! sd_notify(3): what the launcher tells the service manager, and what of a container's words it
//! passes on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::disk;

/// Where the container finds its notification socket.
pub(crate) const SOCKET_IN_CONTAINER: &str = "/run/notify/notify.sock";
/// The directory that holds it, in the container.
pub(crate) const DIRECTORY_IN_CONTAINER: &str = "/run/notify";

/// What a container may say in its unit's name. Not `MAINPID` (the launcher is the main process),
/// nor anything that hands over file descriptors or makes systemd wait for one.
const ALLOWED: [&str; 8] = [
    "READY",
    "STATUS",
    "WATCHDOG",
    "STOPPING",
    "RELOADING",
    "MONOTONIC_USEC",
    "EXTEND_TIMEOUT_USEC",
    "ERRNO",
];

/// The allowed lines of a datagram from inside; `None` where none is left.
pub(crate) fn filter(datagram: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(datagram);
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| line.split_once('=').is_some_and(|(name, _)| ALLOWED.contains(&name)))
        .collect();
    if kept.is_empty() { None } else { Some(kept.join("\n")) }
}

/// The service manager's notification socket, where there is one.
#[derive(Debug)]
pub(crate) struct Notifier(Option<UnixDatagram>);

/// How long the manager may take to make room for what it must hear.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many datagrams of a container are passed on before others have their turn.
const ROUND: usize = 64;

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
    pub(crate) fn send(&self, message: &str) {
        let Some(socket) = &self.0 else { return };
        if self.try_send(message) {
            return;
        }
        let mut polled = [PollFd::new(socket, PollFlags::OUT)];
        let patience = rustix::time::Timespec::try_from(PATIENCE).ok();
        let _ = poll(&mut polled, patience.as_ref());
        let _ = self.try_send(message);
    }

    /// Sends; `false` where the manager takes nothing more for now.
    fn try_send(&self, message: &str) -> bool {
        let sent = self.0.as_ref().map(|socket| socket.send(message.as_bytes()));
        !matches!(sent, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Asks that the start, or the stop, may take so much longer from now on.
    pub(crate) fn extend(&self, by: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }
}

/// The socket that a container writes to instead of the service manager's.
#[derive(Debug)]
pub(crate) struct Proxy {
    socket: UnixDatagram,
    /// Read, and not taken by the manager yet.
    held: Option<String>,
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
    /// that talks without end holds nobody else up.
    pub(crate) fn forward(&mut self, to: &Notifier) {
        let mut buffer = [0u8; 8192];
        for _ in 0..ROUND {
            let Some(message) = self.held.take().or_else(|| {
                let length = self.socket.recv(&mut buffer).ok()?;
                Some(filter(&buffer[..length]).unwrap_or_default())
            }) else {
                return;
            };
            if !message.is_empty() && !to.try_send(&message) {
                self.held = Some(message);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passes_on_only_what_is_allowed() {
        let told = b"READY=1\nMAINPID=1\nSTATUS=up = fine\nFDSTORE=1\nBARRIER=1\nREADYX=1\n";
        assert_eq!(filter(told).unwrap(), "READY=1\nSTATUS=up = fine");
        assert_eq!(filter(b"MAINPID=1"), None);
        assert_eq!(filter(b"READY"), None);
        assert_eq!(filter(b"STATUS=\xff").unwrap(), "STATUS=\u{fffd}");
    }

    #[test]
    fn the_proxy_forwards() {
        let directory = tempfile::tempdir().unwrap();
        let manager = directory.path().join("manager");
        let listening = UnixDatagram::bind(&manager).unwrap();
        let address = SocketAddr::from_pathname(&manager).unwrap();
        let notifier = Notifier(Some(Notifier::connect(&address).unwrap()));
        let inside = directory.path().join("notify");
        let mut proxy = Proxy::bind(&inside).unwrap();
        let container = UnixDatagram::unbound().unwrap();
        container.send_to(b"MAINPID=7\nREADY=1", inside.join("notify.sock")).unwrap();
        proxy.forward(&notifier);
        let mut buffer = [0u8; 100];
        let length = listening.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }

    #[test]
    fn a_manager_that_stalls_holds_nobody_up_and_misses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let manager = directory.path().join("manager");
        let listening = UnixDatagram::bind(&manager).unwrap();
        let address = SocketAddr::from_pathname(&manager).unwrap();
        let notifier = Notifier(Some(Notifier::connect(&address).unwrap()));
        let mut full = 0;
        while notifier.try_send("STATUS=busy") {
            full += 1;
            assert!(full < 100_000, "it takes without end");
        }
        let inside = directory.path().join("notify");
        let mut proxy = Proxy::bind(&inside).unwrap();
        let container = UnixDatagram::unbound().unwrap();
        container.send_to(b"READY=1", inside.join("notify.sock")).unwrap();
        proxy.forward(&notifier);
        assert_eq!(proxy.waiting(&notifier).1, PollFlags::OUT);
        let mut buffer = [0u8; 100];
        for _ in 0..full {
            listening.recv(&mut buffer).unwrap();
        }
        proxy.forward(&notifier);
        assert_eq!(proxy.waiting(&notifier).1, PollFlags::IN);
        let length = listening.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }

    proptest! {
        #[test]
        fn nothing_else_gets_through(datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
            for line in filter(&datagram).unwrap_or_default().lines() {
                let (name, _) = line.split_once('=').unwrap();
                prop_assert!(ALLOWED.contains(&name));
            }
        }
    }
}
