//! Work in the store by `updater-launch`: for an ordinary user, in whose own process files could not
//! have the owners that an image says, nor be removed.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::process::{Child, Command};

use super::advance::Advance;
use crate::model::failure::plain;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{Digest, Failure, FailureKind, ImageIdentity};
use crate::store::Retirement;
use crate::store::pull::Request;

/// Pulls into the store below `state`. Dropped, it asks the process to end, which clears away first.
pub(super) async fn stage(
    state: &Path,
    run: &Path,
    request: &Request,
    advance: &Advance,
) -> Result<ImageIdentity, Failure> {
    call("stage", state, run, request, |far| advance.gauge.pass_on(far)).await
}

/// Removes images from the store below `state`, as [`crate::store::Store::retire`] does.
pub(super) async fn retire(
    state: &Path,
    run: &Path,
    asked: &Retirement,
) -> Result<Vec<Digest>, Failure> {
    call("retire", state, run, asked, |()| {}).await
}

/// Has the program do what its hidden command `verb` does: asked, and answered, in JSON, a line each.
/// What comes before the answer is `told`.
async fn call<T: DeserializeOwned, P: DeserializeOwned>(
    verb: &str,
    state: &Path,
    run: &Path,
    request: &impl Serialize,
    told: impl Fn(P),
) -> Result<T, Failure> {
    let program = program();
    let failed = |error: io::Error| {
        let message = format!("cannot run {}: {error}", program.display());
        Failure::new(FailureKind::of_io(&error), message)
    };
    let mut command = Command::new(&program);
    command.arg("--root").arg(state).arg("--runroot").arg(run).arg(verb);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let _asked = Asked::of(&child).map_err(failed)?;
    let asked = serde_json::to_vec(request)
        .map_err(|error| Failure::from_error(FailureKind::Local, &error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may have ended already: then it has said why.
        let _ = stdin.write_all(&asked).await;
    }
    let listen = |line: &[u8]| {
        if let Ok(progress) = serde_json::from_slice(line) {
            told(progress);
        }
    };
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (answer, said) = tokio::join!(last_line(output, listen), all(errors));
    let (answer, said) = (answer.map_err(failed)?, said.map_err(failed)?);
    let status = child.wait().await.map_err(failed)?;
    let said = plain(String::from_utf8_lossy(&said).trim());
    if !status.success() {
        return Err(Failure::new(FailureKind::Local, said.trim_start_matches("Error: ")));
    }
    if !said.is_empty() {
        tracing::warn!("{said}");
    }
    let answer: Result<T, Failure> = serde_json::from_slice(&answer)
        .map_err(|error| Failure::from_error(FailureKind::Local, &error))?;
    answer
}

/// How much of what the program says is read, in bytes; of standard output, how much of each line.
const LONGEST: u64 = 1 << 20;

/// The last line; each that comes is `told`.
async fn last_line(
    from: Option<impl AsyncRead + Unpin>,
    told: impl Fn(&[u8]),
) -> io::Result<Vec<u8>> {
    let Some(from) = from else { return Ok(Vec::new()) };
    let mut reader = BufReader::new(from);
    let mut last = Vec::new();
    loop {
        let mut line = Vec::new();
        if (&mut reader).take(LONGEST).read_until(b'\n', &mut line).await? == 0 {
            return Ok(last);
        }
        told(&line);
        last = line;
    }
}

async fn all(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(LONGEST).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// A process that is asked to end on drop. One that has ended does not hear of it.
struct Asked(Option<OwnedFd>);

impl Asked {
    fn of(child: &Child) -> io::Result<Self> {
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let fd = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())).transpose()?;
        Ok(Self(fd))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            let _ = pidfd_send_signal(process, Signal::TERM);
        }
    }
}

/// It is installed beside this program.
fn program() -> PathBuf {
    const NAME: &str = "updater-launch";
    std::env::current_exe().map_or_else(|_| NAME.into(), |own| own.with_file_name(NAME))
}
