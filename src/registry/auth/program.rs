//! Credential helpers: programs that keep logins, `docker-credential-NAME`, which Docker and Podman call
//! just so. They are given a registry on standard input, and answer with JSON.
//!
//! What they answer is kept for a pass, since many images are of one registry. Nothing secret is ever
//! printed, nor given to anybody as an argument.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::process::Command;

use super::credentials::Secret;
use super::table::Table;
use crate::model::failure::excerpt;
use crate::program::{Answer, Group, answer, child};
use crate::registry::error::HelperFault;
use crate::registry::options::{Paths, Timeouts};

/// The longest answer read, in bytes: an identity token of a cloud has some thousand.
const MAX_ANSWER: u64 = 64 * 1024;

/// So many answers are kept.
const MOST: usize = 256;

/// The longest name.
const MAX_NAME: usize = 64;

/// How old an answer may be, however long a pass takes: tokens that a helper fetches get old.
const FRESH: Duration = Duration::from_secs(300);

/// The name of a user whose secret is an identity token (docker/docker-credential-helpers).
const TOKEN: &str = "<token>";

/// How a helper says that it has none. Docker's own go on with " in native keychain".
const NOT_FOUND: &str = "credentials not found";

/// The helpers of one client, and what they answered.
#[derive(Debug)]
pub(in crate::registry) struct Helpers {
    directories: Vec<PathBuf>,
    home: Option<PathBuf>,
    limit: Duration,
    answers: Table<(String, String), Slot>,
}

/// A name and a secret, where it has them.
type Login = Option<(String, Secret)>;

type Slot = tokio::sync::Mutex<Option<Kept>>;

struct Kept {
    at: Instant,
    answer: Result<Login, HelperFault>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("at", &self.at).finish_non_exhaustive()
    }
}

/// What a helper answers. Go, in which the others are written that read it, takes any case.
#[derive(Deserialize)]
struct Said {
    #[serde(rename = "Username", alias = "username", default)]
    username: String,
    #[serde(rename = "Secret", alias = "secret")]
    secret: String,
}

impl Helpers {
    pub(in crate::registry) fn new(paths: &Paths, timeouts: &Timeouts) -> Self {
        Self {
            directories: paths.programs.clone(),
            home: paths.home.clone(),
            limit: timeouts.helper,
            answers: Table::new(MOST),
        }
    }

    /// What the helper `name` has for `server`; `None` where it has nothing. All who want the same wait
    /// for one call, and have its failure, too.
    pub(in crate::registry) async fn ask(
        &self,
        name: &str,
        server: &str,
    ) -> Result<Login, HelperFault> {
        let slot = self.answers.get((name.to_owned(), server.to_owned()));
        let mut slot = slot.lock().await;
        if let Some(kept) = slot.as_ref().filter(|kept| kept.at.elapsed() < FRESH) {
            return kept.answer.clone();
        }
        let answer = self.call(name, server).await;
        *slot = Some(Kept { at: Instant::now(), answer: answer.clone() });
        answer
    }

    /// A pass begins: all are asked again.
    pub(in crate::registry) fn forget(&self) {
        self.answers.clear();
    }

    async fn call(&self, name: &str, server: &str) -> Result<Login, HelperFault> {
        if !is_name(name) {
            return Err(HelperFault::Name);
        }
        let program = self.find(&format!("docker-credential-{name}"))?;
        let of_io = |source: std::io::Error| HelperFault::Run {
            program: program.clone(),
            source: Arc::new(source),
        };
        let mut child = self.command(&program).spawn().map_err(of_io)?;
        let group = Group::of(&child);
        let answered = tokio::time::timeout(self.limit, answer(&mut child, server, MAX_ANSWER));
        let answered = match answered.await {
            Ok(answered) => answered.map_err(of_io)?,
            Err(_) => return Err(HelperFault::Slow { program, limit: self.limit }),
        };
        let Some(answer) = answered else {
            return Err(HelperFault::TooMuch { program, limit: MAX_ANSWER });
        };
        // An agent that it has begun goes on.
        group.release();
        read(program, answer)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = child(program.as_os_str(), ["get"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        command
    }

    fn find(&self, program: &str) -> Result<PathBuf, HelperFault> {
        let is_program = |path: &PathBuf| {
            let found = std::fs::metadata(path);
            found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let found = self.directories.iter().map(|dir| dir.join(program)).find(is_program);
        found.ok_or_else(|| {
            let path = std::env::join_paths(&self.directories).unwrap_or_default();
            HelperFault::Missing(path.to_string_lossy().into_owned())
        })
    }
}

/// What may be a part of a program's name, and nothing that leads elsewhere.
fn is_name(name: &str) -> bool {
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(usual)
}

fn read(program: PathBuf, Answer { ended, said }: Answer) -> Result<Login, HelperFault> {
    let text = String::from_utf8_lossy(&said);
    match (ended, serde_json::from_slice(&said)) {
        (Ok(()), Ok(said)) => Ok(login(said)),
        (Ok(()), Err(_)) if has_none(&text) => Ok(None),
        (Ok(()), Err(_)) => Err(HelperFault::Answer { program }),
        (Err(why), _) if has_none(&text) || has_none(&why) => Ok(None),
        (Err(why), _) => Err(HelperFault::Failed { program, why: with_error(why, &text) }),
    }
}

fn login(Said { username, secret }: Said) -> Login {
    match (username.as_str(), secret.as_str()) {
        ("", "") => None,
        (TOKEN, _) => Some((String::new(), Secret::IdentityToken(secret))),
        _ => Some((username, Secret::Password(secret))),
    }
}

fn has_none(text: &str) -> bool {
    text.to_ascii_lowercase().contains(NOT_FOUND)
}

/// Helpers tell their errors on standard output; but what looks like an answer is not repeated.
fn with_error(why: String, text: &str) -> String {
    match text.trim().lines().next() {
        Some(error) if !text.contains('{') => format!("{why}: {}", excerpt(error)),
        _ => why,
    }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
