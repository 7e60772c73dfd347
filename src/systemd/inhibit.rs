//! Delaying a shutdown while a rollout is under way (org.freedesktop.login1(5), `Inhibit`).

use std::time::Duration;

use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedFd, proxy};

/// How long logind may take to answer: a rollout does not wait for more.
const ANSWER: Duration = Duration::from_secs(5);

#[proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Logind {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd>;
}

/// As long as it lives, a shutdown that is asked for waits; for as long as logind lets it
/// (`InhibitDelayMaxSec=`, 5 s by default).
#[derive(Debug)]
#[must_use = "the shutdown is delayed only while this lives"]
pub struct Inhibitor {
    /// logind watches for the other end to be closed.
    _lock: OwnedFd,
}

/// Has logind delay a shutdown; `why` is for people (`systemd-inhibit --list`). `system` is the
/// system bus, for users as well. A host without logind is not delayed: that fails no rollout.
pub async fn delay_shutdown(system: &Connection, why: &str) -> Option<Inhibitor> {
    let asked = tokio::time::timeout(ANSWER, async {
        let logind = LogindProxy::builder(system).cache_properties(CacheProperties::No);
        logind.build().await?.inhibit("shutdown", "updaterd", why, "delay").await
    });
    match asked.await {
        Ok(Ok(lock)) => Some(Inhibitor { _lock: lock }),
        Ok(Err(error)) => {
            tracing::debug!(%error, "logind does not delay a shutdown, ignoring");
            None
        }
        Err(_) => {
            tracing::debug!("logind does not answer, ignoring");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, PipeReader, Read};
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};

    use zbus::connection::Builder;
    use zbus::{Guid, fdo, interface};

    use super::*;

    /// Keeps the other end of the lock that it gave out last.
    #[derive(Default)]
    struct Logind(Arc<Mutex<Option<PipeReader>>>);

    #[interface(name = "org.freedesktop.login1.Manager")]
    impl Logind {
        fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> fdo::Result<OwnedFd> {
            assert_eq!((what, who, why, mode), ("shutdown", "updaterd", "because", "delay"));
            let (reader, writer) = std::io::pipe().unwrap();
            *self.0.lock().unwrap() = Some(reader);
            Ok(std::os::fd::OwnedFd::from(writer).into())
        }
    }

    /// Both ends of a connection; `logind` is served on `path`.
    async fn pair(logind: Logind, path: &str) -> (Connection, Connection) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = Builder::unix_stream(theirs).server(Guid::generate()).p2p();
        let server = server.serve_at(path, logind);
        let client = Builder::unix_stream(ours).p2p();
        let (server, client) = tokio::join!(server.build(), client.build());
        (server.unwrap(), client.unwrap())
    }

    #[tokio::test]
    async fn delays_until_it_is_dropped() {
        let lock = Arc::default();
        let logind = Logind(Arc::clone(&lock));
        let (_server, client) = pair(logind, "/org/freedesktop/login1").await;
        let inhibitor = delay_shutdown(&client, "because").await.unwrap();
        let mut lock = lock.lock().unwrap().take().unwrap();
        rustix::io::ioctl_fionbio(&lock, true).unwrap();
        assert_eq!(lock.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(inhibitor);
        assert_eq!(lock.read(&mut [0]).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_host_without_logind_is_not_delayed() {
        let (_server, client) = pair(Logind::default(), "/elsewhere").await;
        assert!(delay_shutdown(&client, "because").await.is_none());
    }
}
