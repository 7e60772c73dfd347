//! sd_notify(3): what the launcher tells the service manager, and what of a container's words it
//! passes on.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

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
pub(crate) struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// From `$NOTIFY_SOCKET`; one that cannot be used is the same as none.
    pub(crate) fn from_environment() -> Self {
        let open = || {
            let path = std::env::var_os("NOTIFY_SOCKET")?;
            let address = match path.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name).ok()?,
                None => SocketAddr::from_pathname(&path).ok()?,
            };
            Some((UnixDatagram::unbound().ok()?, address))
        };
        Self(open())
    }

    /// Asks that the start, or the stop, may take so much longer from now on.
    pub(crate) fn extend(&self, by: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Sends `message`. A failure is not worth failing a container for, ignoring.
    pub(crate) fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.0 {
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// The socket that a container writes to instead of the service manager's.
#[derive(Debug)]
pub(crate) struct Proxy(UnixDatagram);

impl Proxy {
    /// Makes `notify.sock` in `directory`, writable for every user of the container.
    pub(crate) fn bind(directory: &Path) -> std::io::Result<Self> {
        std::fs::create_dir(directory)?;
        let opened = OwnedFd::from(std::fs::File::open(directory)?);
        // Through the descriptor: the whole path may be longer than sun_path.
        let path = format!("/proc/self/fd/{}/notify.sock", opened.as_raw_fd());
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Self(socket))
    }

    /// Passes on what waits in the socket, filtered.
    pub(crate) fn forward(&self, to: &Notifier) {
        let mut buffer = [0u8; 8192];
        while let Ok(length) = self.0.recv(&mut buffer) {
            if let Some(message) = filter(&buffer[..length]) {
                to.send(&message);
            }
        }
    }
}

impl std::os::fd::AsFd for Proxy {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
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
        let notifier = Notifier(Some((UnixDatagram::unbound().unwrap(), address)));
        let inside = directory.path().join("notify");
        let proxy = Proxy::bind(&inside).unwrap();
        let container = UnixDatagram::unbound().unwrap();
        container.send_to(b"MAINPID=7\nREADY=1", inside.join("notify.sock")).unwrap();
        proxy.forward(&notifier);
        let mut buffer = [0u8; 100];
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
