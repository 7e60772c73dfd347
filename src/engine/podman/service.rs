//! Podman's own API (`podman-system-service(1)`), from a process of ours that ends with the work: what
//! costs a process of some 50 ms as a command costs 3 ms there. It is begun where images are staged, for
//! an update is many small calls, and ends by itself when nobody asks any more. Where it is not to be had,
//! and what it fails at, is for commands.

use std::cell::Cell;
use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::program::{Background, MAX_DOCUMENT};
use super::{Podman, words};
use crate::model::failure::excerpt;

/// The oldest version that it speaks, which is the oldest Podman's that we do.
const VERSION: &str = "/v4.0.0/libpod";

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(10);

/// How often it is tried meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// After so many seconds without a question it ends by itself, should we be gone.
const IDLE: &str = "--time=10";

/// For so long after it was asked last, an update is taken to be under way; and so long it is let be
/// where it was not to be had.
const LASTS: Duration = Duration::from_secs(60);

/// It ends by then, whatever happens, and is begun anew where it is needed.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Our own service of Podman's.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// When it was wanted last: from the first image that is staged to the end of the rollouts.
    wanted: Cell<Option<Instant>>,
    /// When it was not to be had.
    missed: Cell<Option<Instant>>,
    serving: Mutex<Option<Serving>>,
    /// How many there were before.
    number: Cell<u32>,
}

#[derive(Debug)]
struct Serving {
    process: Background,
    socket: PathBuf,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Podman may have removed it.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// No service answered, or not well: a command may do it, or says why not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unserved;

impl Service {
    /// From now on there is one, where it is to be had.
    pub(super) fn begin(&self) {
        self.wanted.set(Some(Instant::now()));
    }

    fn is_wanted(&self) -> bool {
        let is_new = |time: Option<Instant>| time.is_some_and(|time| time.elapsed() < LASTS);
        is_new(self.wanted.get()) && !is_new(self.missed.get())
    }

    async fn give_up(&self) {
        self.missed.set(Some(Instant::now()));
        *self.serving.lock().await = None;
    }
}

impl Podman {
    /// What the service shows under a path; `None` where there is nothing of that name.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Bytes>, Unserved> {
        let (status, body) = self.request(Method::GET, path).await.ok_or(Unserved)?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status => succeeded(status, path, &body).map(|()| Some(body)),
        }
    }

    /// Has the service do something.
    pub(super) async fn post(&self, path: &str) -> Result<(), Unserved> {
        let (status, body) = self.request(Method::POST, path).await.ok_or(Unserved)?;
        succeeded(status, path, &body)
    }

    /// `None` where there is no service that answers.
    async fn request(&self, method: Method, path: &str) -> Option<(StatusCode, Bytes)> {
        let socket = self.socket().await?;
        let asked = tokio::time::timeout(self.options.timeout, ask(&socket, method, path));
        match asked.await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(cause)) => self.without(&cause).await,
            Err(cause) => self.without(&cause).await,
        }
    }

    /// What cannot be asked once is not asked again soon.
    async fn without<T>(&self, cause: &dyn Display) -> Option<T> {
        tracing::debug!(%cause, "without Podman's service, by commands");
        self.service.give_up().await;
        None
    }

    /// Where the service listens, which is begun where there is none.
    async fn socket(&self) -> Option<PathBuf> {
        if !self.service.is_wanted() || self.known().await.is_err() {
            return None;
        }
        self.service.begin();
        let mut serving = self.service.serving.lock().await;
        // While others waited for their turn, it may have turned out that there is none.
        if !self.service.is_wanted() {
            return None;
        }
        if serving.as_ref().is_none_or(|serving| serving.process.has_ended()) {
            *serving = None;
            match self.serve().await {
                Ok(begun) => *serving = Some(begun),
                Err(cause) => {
                    drop(serving);
                    return self.without(&cause).await;
                }
            }
        }
        serving.as_ref().map(|serving| serving.socket.clone())
    }

    async fn serve(&self) -> io::Result<Serving> {
        let directory = self.options.run.join("podman");
        // Whoever may connect is root here, or this user.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let number = self.service.number.get().wrapping_add(1);
        self.service.number.set(number);
        let socket = directory.join(format!("{}-{number}.sock", std::process::id()));
        let mut address = OsString::from("unix://");
        address.push(&socket);
        let mut arguments = words(["system", "service", IDLE]);
        arguments.push(address);
        let process = self.options.program.begin(&arguments, LONGEST)?;
        let serving = Serving { process, socket };
        tokio::time::timeout(START, serving.listens()).await??;
        Ok(serving)
    }
}

impl Serving {
    async fn listens(&self) -> io::Result<()> {
        while UnixStream::connect(&self.socket).await.is_err() {
            if self.process.has_ended() {
                return Err(io::Error::other("it ended at once"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

fn succeeded(status: StatusCode, path: &str, body: &[u8]) -> Result<(), Unserved> {
    if status.is_success() {
        return Ok(());
    }
    let why = excerpt(&String::from_utf8_lossy(body));
    tracing::debug!(path, %status, why, "Podman's service fails, by a command");
    Err(Unserved)
}

/// One request over a connection of its own.
async fn ask(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let request = Request::builder().method(method).uri(format!("{VERSION}{path}"));
    let request = request.header("Host", "podman").body(Empty::<Bytes>::new())?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let (status, body) = (answer.status(), Limited::new(answer.into_body(), MAX_DOCUMENT));
        drop(sender);
        Ok((status, body.collect().await?.to_bytes()))
    };
    let (answered, _) = tokio::join!(answered, connection);
    answered
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, run};
    use super::Unserved;

    #[test]
    fn without_a_service_nothing_is_asked_twice() {
        let fake = Fake::new("");
        let podman = fake.podman();
        run(async {
            assert_eq!(podman.get("/images/json").await, Err(Unserved));
            podman.service.begin();
            assert_eq!(podman.get("/images/json").await, Err(Unserved));
            assert_eq!(podman.post("/images/1/tag?repo=a&tag=1").await, Err(Unserved));
        });
        assert_eq!(fake.read("calls").matches("system service").count(), 1);
    }
}
