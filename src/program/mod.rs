//! Programs that we call, without a shell: as children of ours, or as units of their own ([`unit`]).
//!
//! What must not live here: which program is called, and what its end means.

pub mod unit;

use std::ffi::OsStr;
use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join, select};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::model::failure::excerpt;

/// So much of what it says on standard error is told, in bytes.
const MAX_SAID: u64 = 512;

/// How long a program that has failed is listened to, where others still hold its standard error.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program as a child of ours. Dropped, it ends; a [`Group`] ends what it has called.
pub fn child(program: &OsStr, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true).process_group(0);
    command
}

/// A child's whole process group, which ends when this is dropped, unless the child has ended.
#[derive(Debug)]
pub struct Group(Option<u32>);

impl Group {
    pub fn of(child: &Child) -> Self {
        Self(child.id())
    }

    /// The child has ended: what it left behind goes on.
    pub fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // Gone already is as good.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Gives a program `input` on its standard input, where that is piped, and waits for its end. What it leaves
/// behind goes on, and is not waited for.
///
/// The inner error says how it ended where it did not end well, with what it said on standard error.
///
/// # Errors
/// Where it cannot be waited for.
pub async fn ends_well(child: &mut Child, input: &str) -> io::Result<Result<(), String>> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut said = Vec::new();
    let exchange = join(give(stdin, input), listen(stderr, &mut said));
    // What it leaves in the background may hold both for as long as it likes.
    let status = match select(pin!(child.wait()), pin!(exchange)).await {
        Either::Left((status, exchange)) => {
            if status.as_ref().is_ok_and(|status| !status.success()) {
                let _ = tokio::time::timeout(LAST_WORDS, exchange).await;
            }
            status
        }
        Either::Right((_, end)) => end.await,
    }?;
    if status.success() {
        return Ok(Ok(()));
    }
    let said = String::from_utf8_lossy(&said);
    let last = excerpt(said.trim().lines().next_back().unwrap_or_default());
    Ok(Err(if last.is_empty() { status.to_string() } else { format!("{status}: {last}") }))
}

/// What a program answered. It may be a secret: nothing prints it.
pub struct Answer {
    /// As [`ends_well`] has it.
    pub ended: Result<(), String>,
    /// What it said on standard output.
    pub said: Vec<u8>,
}

/// As [`ends_well`], with what it says on its standard output, where that is piped; `None` where that is
/// more than `limit` bytes: it may still run then.
///
/// # Errors
/// Where it cannot be waited for.
pub async fn answer(child: &mut Child, input: &str, limit: u64) -> io::Result<Option<Answer>> {
    let stdout = child.stdout.take();
    let mut said = Vec::new();
    let ended =
        match select(pin!(ends_well(child, input)), pin!(hear(stdout, limit, &mut said))).await {
            Either::Left((ended, hearing)) => {
                // What it leaves in the background may hold it for as long as it likes.
                let _ = tokio::time::timeout(LAST_WORDS, hearing).await;
                Some(ended?)
            }
            Either::Right((Heard::TooMuch, _)) => None,
            Either::Right((Heard::All, end)) => Some(end.await?),
        };
    let whole = said.len() as u64 <= limit;
    Ok(ended.filter(|_| whole).map(|ended| Answer { ended, said }))
}

/// How standard output came to its end.
enum Heard {
    All,
    TooMuch,
}

async fn hear(stdout: Option<ChildStdout>, limit: u64, said: &mut Vec<u8>) -> Heard {
    let Some(stdout) = stdout else { return Heard::All };
    // What cannot be read on has ended.
    let _ = stdout.take(limit.saturating_add(1)).read_to_end(said).await;
    if said.len() as u64 > limit { Heard::TooMuch } else { Heard::All }
}

async fn give(stdin: Option<ChildStdin>, input: &str) {
    let Some(mut stdin) = stdin else { return };
    // One that does not read it has what it wants from its environment.
    let _ = stdin.write_all(input.as_bytes()).await;
}

async fn listen(stderr: Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let _ = (&mut stderr).take(MAX_SAID).read_to_end(said).await;
    // A program that goes on saying more is not held up.
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
}
