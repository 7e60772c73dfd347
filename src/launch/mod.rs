//! `updater-launch`: containers as children of their unit's main process. One process, one thread,
//! no async runtime: a pull is a child process that ends before the container starts.
//!
//! [`command::run`] puts an image, a root file system ([`rootfs`]), a specification ([`spec`],
//! pure) and a runtime ([`runtime`]) together and waits ([`supervise`]).
//!
//! What must not live here: requests to registries but in `pull`, updates, D-Bus.

mod archive;
pub mod args;
mod attach;
mod command;
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

use args::{Arguments, Command};
use error::Error;
use place::Place;
use process::activation;

use crate::terminal::Terminal;
use crate::terminal::template::{Format, Layout};

/// Carries out one command line; the exit status is Podman's (podman-run(1), "EXIT STATUS").
pub fn main(arguments: Arguments) -> ExitCode {
    match carry_out(arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let chain = crate::model::failure::chain(&error);
            eprintln!("Error: {chain}");
            if let Error::Interrupted { signal } = error {
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

fn carry_out(arguments: Arguments) -> Result<u8, Error> {
    let starts = match &arguments.command {
        Command::Run(_) | Command::Start(_) | Command::Restart(_) => true,
        Command::Pod { command } => command.starts(),
        _ => false,
    };
    activation::keep_own(starts);
    let place = Place::find(arguments.root, arguments.runroot)?;
    if starts || matches!(arguments.command, Command::Exec(_)) {
        lifecycle::session::leave(&place);
    }
    if enters_at_once(&arguments.command) {
        place.enter()?;
    }
    if starts || matches!(arguments.command, Command::Exec(_) | Command::Healthcheck(_)) {
        // What is made for a container is made for its users, whatever the unit's UMask= is.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(process::umask::DEFAULT));
    }
    match arguments.command {
        Command::Run(run) => command::run::run(&place, &run),
        Command::Create(create) => command::create::create(&place, &create),
        Command::Start(start) => command::start::start(&place, &start),
        Command::Stop(stop) => command::stop::stop(&place, &stop),
        Command::Kill(kill) => command::kill::kill(&place, &kill),
        Command::Restart(restart) => command::restart::restart(&place, &restart),
        Command::Attach(attach) => command::attach::run(&place, &attach),
        Command::Wait(wait) => command::wait::wait(&place, &wait),
        Command::Pause(pause) => command::pause::pause(&place, &pause, true),
        Command::Unpause(pause) => command::pause::pause(&place, &pause, false),
        Command::Rename(rename) => command::rename::rename(&place, &rename),
        Command::Rm(remove) => command::rm::remove(&place, &remove),
        Command::Ps(ps) => command::ps::list(&place, &ps),
        Command::Inspect(inspect) => command::inspect::show(&place, &inspect),
        Command::Exec(exec) => command::exec::exec(&place, &exec),
        Command::Healthcheck(check) => command::healthcheck::healthcheck(&place, &check),
        Command::Logs(logs) => command::logs::show(&place, &logs),
        Command::Pull(pull) => command::pull::pull(&place, &pull),
        Command::Images(images) => command::images::list(&place, &images),
        Command::Pod { command } => command::pod::carry_out(&place, &command),
        Command::Network { command } => command::network::carry_out(&place, &command),
        Command::Port(port) => command::port::show(&place, &port),
        Command::Stage => command::stage::stage(&place),
        Command::Tag(tag) => command::tag::tag(&place, &tag),
        Command::Volume(volume) => command::volume::carry_out(&place, &volume),
        Command::Secret(secret) => command::secret::carry_out(&place, &secret),
        Command::Untag(untag) => command::untag::untag(&place, &untag),
        Command::Rmi(rmi) => command::rmi::remove(&place, &rmi),
        Command::History(history) => command::history::show(&place, &history),
        Command::Login(login) => command::login::login(&place, &login),
        Command::Logout(logout) => command::login::logout(&place, &logout),
        Command::Save(save) => command::save::save(&place, &save),
        Command::Load(load) => command::load::load(&place, &load),
        Command::Cp(cp) => command::cp::copy(&place, &cp),
        Command::Events(events) => command::events::events(&place, &events),
        Command::Top(top) => command::top::top(&place, &top),
        Command::Stats(stats) => command::stats::stats(&place, &stats),
        Command::Info(info) => command::info::info(&place, &info),
        Command::Version(version) => command::version::version(&version),
        Command::Completion(completion) => command::completion::completion(&completion),
        Command::Image { command } => command::image::run(&place, &command),
        Command::Container { command } => command::container::run(&place, &command),
    }
}

/// Whether a command is root of a user namespace from its beginning, where an ordinary user calls
/// it. Some never are; the others enter one, or join a container's, when it is time for it.
fn enters_at_once(command: &Command) -> bool {
    let outside = matches!(
        command,
        Command::Stop(_)
            | Command::Attach(_)
            | Command::Kill(_)
            | Command::Wait(_)
            | Command::Ps(_)
            | Command::Inspect(_)
            | Command::Healthcheck(_)
            | Command::Logs(_)
            | Command::Images(_)
            | Command::Tag(_)
            | Command::Untag(_)
            | Command::Login(_)
            | Command::Logout(_)
            | Command::Stats(_)
            | Command::Events(_)
            | Command::Info(_)
            | Command::Version(_)
            | Command::Completion(_)
            | Command::Secret(_)
            | Command::Port(_)
            | Command::Network { .. }
    );
    let later = matches!(
        command,
        Command::Run(_)
            | Command::Create(_)
            | Command::Start(_)
            | Command::Restart(_)
            | Command::Rm(_)
            | Command::Exec(_)
            | Command::Pod { .. }
            | Command::Volume(_)
    );
    !outside && !later
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
