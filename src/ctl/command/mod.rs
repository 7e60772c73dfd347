//! The commands, one file each. Each gets its answer from [`Access`], and returns what is printed
//! with the exit code: none of them prints.

mod approve;
mod auto_update;
mod check;
mod completions;
mod doctor;
mod history;
mod hold;
mod quarantine;
mod registries;
mod rollback;
mod status;
mod update;
mod why;

use std::fmt::Write as _;

use jiff::Timestamp;

use super::Error;
use super::access::{Access, Embedded};
use super::args::{Arguments, Command};
use crate::terminal::Terminal;

/// What a command has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub text: String,
    /// What goes to standard error, each line ended.
    pub complaint: String,
    /// See [`super::exit`].
    pub code: u8,
}

impl Output {
    /// What has nothing to complain of.
    fn new(text: impl Into<String>, code: u8) -> Self {
        Self { text: text.into(), complaint: String::new(), code }
    }
}

/// Where and how to show it.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub terminal: Terminal,
    pub json: bool,
    /// For ages such as "3 hours ago".
    pub now: Timestamp,
}

/// Carries out one command.
///
/// # Errors
/// Where it could not be done at all; what failed for a single unit is in the output.
pub async fn run<E: Embedded>(
    arguments: &Arguments,
    access: &Access<E>,
    style: Style,
) -> Result<Output, Error> {
    match &arguments.command {
        Command::Check => check::run(access, style).await,
        Command::Update(update) => update::run(update, access, style).await,
        Command::Rollback(rollback) => rollback::run(rollback, access, style).await,
        Command::AutoUpdate(flags) => auto_update::run(flags, access, style).await,
        Command::Why { unit } => why::run(unit, access, style).await,
        Command::Doctor => doctor::run(access, style).await,
        Command::Status(status) if status.registries => registries::run(access, style).await,
        Command::Status(_) => status::run(access, style).await,
        Command::History(history) => history::run(history, access, style).await,
        Command::Hold(hold) => hold::run(hold, access, style).await,
        Command::Unhold(unhold) => hold::end(unhold, access, style).await,
        Command::Approve(approve) => approve::run(approve, access, style).await,
        Command::Quarantine(quarantine) => quarantine::run(quarantine, access, style).await,
        Command::Completions { shell } => Ok(completions::shell(*shell)),
        Command::Man => completions::manual(),
    }
}

fn json<T: serde::Serialize>(value: &T, code: u8) -> Result<Output, Error> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(Output::new(text, code))
}

/// `3 hours ago`, in the largest unit that fits.
fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// `3.4s`, `2m 5s`.
fn took(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}.{}s", milliseconds % 1000 / 100),
        _ => format!("{}m {}s", seconds / 60, seconds % 60),
    }
}

/// `1 unit`, `2 units`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// What could not be read at all: a line each.
fn problems(text: &mut String, problems: &[crate::model::Failure]) {
    for problem in problems {
        let _ = writeln!(text, "problem: {problem}");
    }
}

#[cfg(test)]
mod tests;
