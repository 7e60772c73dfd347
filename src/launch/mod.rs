//! `updater-launch`: containers as children of their unit's main process. One process, one thread,
//! no async runtime: a pull is a child process that ends before the container starts.
//!
//! [`command::run`] puts an image, a root file system ([`rootfs`]), a specification ([`spec`],
//! pure) and a runtime ([`runtime`]) together and waits ([`supervise`]).
//!
//! What must not live here: requests to registries but in `pull`, updates, D-Bus.

mod archive;
mod args;
mod attach;
pub mod command;
mod control;
mod copy;
mod error;
mod health;
mod events;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod image;
mod isolation;
mod lifecycle;
mod logs;
mod measure;
pub mod manual;
mod network;
mod place;
mod pod;
mod process;
mod runtime;
mod spec;
mod storage;
mod supervise;
mod terminal;
mod userns;
mod view;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use command::Arguments;
use error::Error;

use crate::terminal::Terminal;
use crate::terminal::template::{Format, Layout};

/// Carries out one command line; the exit status is Podman's (podman-run(1), "EXIT STATUS").
pub fn main(arguments: Arguments) -> ExitCode {
    match command::carry_out(arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let chain = crate::model::failure::chain(&error);
            eprintln!("Error: {chain}");
            if let Some(signal) = error.signal() {
                supervise::end_by(signal);
            }
            ExitCode::from(error.status())
        }
    }
}

/// Ends with help, or with an error and status 125: what is wrong with a command line is this
/// program's failure, not the container's.
pub fn refuse(error: &clap::Error) -> ! {
    let _ = error.print();
    std::process::exit(if error.use_stderr() { 125 } else { 0 })
}

/// The variables that a name without a value stands for; those that are no text are left out.
fn host_environment() -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Prints a list as `--format` says, in the command's own table by default.
fn list(format: &Format, layout: Layout<'_>, rows: &[Value]) -> Result<(), Error> {
    print(format.render(layout, rows, Terminal::of_stdout())?)
}

/// Prints documents as `--format` says, as JSON by default.
fn show(format: &Format, documents: &[Value]) -> Result<(), Error> {
    print(format.render_documents(documents, Terminal::of_stdout())?)
}

/// Prints a line.
fn say(text: impl Display) -> Result<(), Error> {
    print(format_args!("{text}\n"))
}

/// Whether whoever read standard output has gone (`| head`).
fn nobody_reads() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};

    let output = rustix::stdio::stdout();
    let mut polled = [PollFd::from_borrowed_fd(output, PollFlags::empty())];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = poll(&mut polled, Some(&now));
    polled.iter().any(|output| output.revents().contains(PollFlags::ERR))
}

/// Prints. A reader that went away (`| head`) has heard enough.
fn print(text: impl Display) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    match write!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        said => said.map_err(|error| Error::system("write to standard output", error)),
    }
}
