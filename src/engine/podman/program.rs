//! One call of Podman: arguments as a list and no shell, a time limit, limits to what it may say.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::model::failure::plain;
use crate::model::{Failure, FailureKind};
use crate::program::unit::{Unit, apart};
use crate::program::{Group, child};
use crate::registry::Proxies;

/// The longest document that is read, in bytes: that of a thousand containers has nine million.
pub(super) const MAX_DOCUMENT: usize = 256 << 20;

/// How much of what it says on standard error is kept, in bytes.
const MAX_SAID: usize = 64 << 10;

/// Beyond a call's own time limit, so that it is that which is told.
const GRACE: Duration = Duration::from_secs(5);

/// Variables by which Podman finds its files. They are paths and words, no secrets: who may ask
/// systemd for a unit's properties sees them.
const ENVIRONMENT: [&str; 9] = [
    "CONTAINERS_CONF",
    "CONTAINERS_REGISTRIES_CONF",
    "CONTAINERS_STORAGE_CONF",
    "DOCKER_CONFIG",
    "HOME",
    "REGISTRY_AUTH_FILE",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
    "XDG_CONFIG_HOME",
];

/// How Podman is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    /// Whether each call is a transient unit: for a service that may not do what Podman must.
    pub apart: bool,
    /// Whether what it says while it works goes to our standard error, too.
    pub shown: bool,
    /// By which Podman reaches registries.
    pub proxies: Proxies,
}

/// What a call that ended said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) output: Vec<u8>,
    /// Standard error, as plain text.
    pub(super) error: String,
}

impl Program {
    /// Calls `podman ARGUMENTS…` and waits for its end. Dropped, it ends the call.
    ///
    /// # Errors
    /// Where it cannot be started, takes longer than `time`, or says too much. A bad exit status is
    /// for the caller to judge.
    pub(super) async fn call(
        &self,
        arguments: &[OsString],
        time: Duration,
    ) -> Result<Said, Failure> {
        let name = self.name(arguments);
        let failed = |error: io::Error| {
            let kind = FailureKind::of_io(&error);
            Failure::new(kind, format!("cannot run \"{name}\": {error}"))
        };
        let mut child = self.command(arguments, time).spawn().map_err(failed)?;
        let group = Group::of(&child);
        let (output, error) = (child.stdout.take(), child.stderr.take());
        let shown = self.shown;
        let work = async {
            let (output, error) = tokio::join!(document(output), said(error, shown));
            let output = output.map_err(failed)?;
            let status = child.wait().await.map_err(failed)?;
            Ok::<_, Failure>(Said { success: status.success(), output, error })
        };
        let ended = tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
            let message = format!("\"{name}\" has not ended after {} s", time.as_secs());
            Err(Failure::new(FailureKind::Local, message))
        })?;
        group.release();
        Ok(ended)
    }

    /// Begins `podman ARGUMENTS…`, which goes on until what is returned is dropped, and no longer than
    /// `time` where it is a unit.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(super) fn begin(&self, arguments: &[OsString], time: Duration) -> io::Result<Background> {
        let mut command = self.command(arguments, time);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let group = Group::of(&child);
        Ok(Background(tokio::spawn(async move {
            // However it ends, it is gone.
            let _ = child.wait().await;
            group.release();
        })))
    }

    fn command(&self, arguments: &[OsString], time: Duration) -> Command {
        let path = self.path.as_os_str();
        let mut command = match self.apart {
            true => {
                let proxies = self.proxies.variables(true).into_iter();
                let proxies = proxies.map(|(name, value)| (name, value.into()));
                let unit = Unit {
                    description: "updaterd calls Podman",
                    properties: &["LogLevelMax=err"],
                    // It has none of our environment, and the check went by it.
                    environment: ENVIRONMENT
                        .iter()
                        .filter_map(|name| passed(name))
                        .chain(proxies)
                        .collect(),
                    limit: time.saturating_add(GRACE),
                };
                apart(unit, path, arguments)
            }
            false => {
                let mut command = child(path, arguments);
                command.envs(self.proxies.variables(false));
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The call in messages, without the long lists of IDs.
    fn name(&self, arguments: &[OsString]) -> String {
        let mut name = self.path.display().to_string();
        for argument in arguments.iter().take(4) {
            name.push(' ');
            name.push_str(&argument.to_string_lossy().chars().take(120).collect::<String>());
        }
        if arguments.len() > 4 {
            name.push_str(" …");
        }
        name
    }

    /// What a call that failed says to people.
    pub(super) fn failure(&self, arguments: &[OsString], said: &Said) -> Failure {
        let error = said.error.trim();
        let error = error.rsplit_once("Error: ").map_or(error, |(_, last)| last).trim();
        let kind = match error {
            text if text.contains("no space left on device") => FailureKind::StorageFull,
            text if text.contains("authentication required") || text.contains("unauthorized") => {
                FailureKind::Unauthorized
            }
            text if text.contains("manifest unknown") => FailureKind::NotFound,
            text if text.contains("connection refused") || text.contains("no such host") => {
                FailureKind::Unreachable
            }
            _ => FailureKind::Local,
        };
        Failure::new(kind, format!("\"{}\" failed: {error}", self.name(arguments)))
    }
}

/// A call that goes on beside us; dropped, it ends.
#[derive(Debug)]
pub(super) struct Background(JoinHandle<()>);

impl Background {
    pub(super) fn has_ended(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A variable that the unit gets; none where it is not set.
fn passed(name: &str) -> Option<(&str, OsString)> {
    Some((name, std::env::var_os(name)?))
}

async fn document(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let Some(from) = from else { return Ok(all) };
    from.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut all).await?;
    if all.len() > MAX_DOCUMENT {
        return Err(io::Error::other(format!("it said more than {MAX_DOCUMENT} bytes")));
    }
    Ok(all)
}

/// What is said on standard error, the end of it where it is long.
async fn said(from: Option<impl AsyncRead + Unpin>, shown: bool) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let Some(mut from) = from else { return String::new() };
    let mut piece = [0u8; 4096];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let piece = piece.get(..read).unwrap_or_default();
        if shown {
            // A terminal that is gone is no reason to break a pull off.
            let _ = io::Write::write_all(&mut io::stderr(), piece);
        }
        kept.extend_from_slice(piece);
        let more = kept.len().saturating_sub(MAX_SAID);
        kept.drain(..more);
    }
    plain(&String::from_utf8_lossy(&kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RegistrySettings;

    /// The variables by which Podman is told of `proxy`, called as a unit and as a child.
    fn told(proxy: &str) -> [String; 2] {
        let settings = RegistrySettings { proxy: Some(proxy.parse().unwrap()), no_proxy: vec![] };
        let proxies = Proxies::default().configured(&settings);
        [true, false].map(|apart| {
            let path = "/usr/bin/podman".into();
            let program = Program { path, apart, shown: false, proxies: proxies.clone() };
            format!("{:?}", program.command(&[], Duration::ZERO).as_std())
        })
    }

    #[test]
    fn a_proxy_is_told_and_one_with_a_login_where_nobody_sees_it() {
        for command in told("http://proxy:3128") {
            assert!(
                command.contains("HTTPS_PROXY=\"http://proxy:3128\"")
                    || command.contains("HTTPS_PROXY=http://proxy:3128"),
                "{command}"
            );
        }
        let [unit, child] = told("http://u:hunter2@proxy:3128");
        assert!(!unit.contains("PROXY"), "{unit}");
        assert!(child.contains("HTTPS_PROXY=\"http://u:hunter2@proxy:3128\""), "{child}");
    }
}
