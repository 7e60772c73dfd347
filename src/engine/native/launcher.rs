//! Work in the store by `updater-launch`: for an ordinary user, in whose own process files could not
//! have the owners that an image says, nor be removed.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

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
) -> Result<ImageIdentity, Failure> {
    call("stage", state, run, request).await
}

/// Removes images from the store below `state`, as [`crate::store::Store::retire`] does.
pub(super) async fn retire(
    state: &Path,
    run: &Path,
    asked: &Retirement,
) -> Result<Vec<Digest>, Failure> {
    call("retire", state, run, asked).await
}

/// Has the program do what its hidden command `verb` does: asked, and answered, in JSON.
async fn call<T: DeserializeOwned>(
    verb: &str,
    state: &Path,
    run: &Path,
    request: &impl Serialize,
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
    let output = child.wait_with_output().await.map_err(failed)?;
    let said = plain(String::from_utf8_lossy(&output.stderr).trim());
    if !output.status.success() {
        return Err(Failure::new(FailureKind::Local, said.trim_start_matches("Error: ")));
    }
    if !said.is_empty() {
        tracing::warn!("{said}");
    }
    let answer: Result<T, Failure> = serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::from_error(FailureKind::Local, &error))?;
    answer
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
