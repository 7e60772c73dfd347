//! `updater-launch exec`

use std::path::PathBuf;

use clap::Args;

use crate::launch::args::ProgramFlags;
use crate::launch::command::attach::{self, AttachFlags};
use crate::launch::control::server::Control;
use crate::launch::lifecycle::detach::{self, Handover};
use crate::launch::lifecycle::enter::{self, Entry};
use crate::launch::lifecycle::{asked, containers, name};
use crate::launch::place::Place;
use crate::launch::supervise::input::Input;
use crate::launch::supervise::output::Output;
use crate::launch::supervise::traffic::Traffic;
use crate::launch::supervise::{Signals, attend};
use crate::launch::{Error, host_environment, say};
use crate::store::containers::Record;

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Set an environment variable, or pass one on
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// User, and group, to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Leave the command to itself, in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) attach: AttachFlags,
    /// With all capabilities; the filter of system calls and the devices are the container's
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) privileged: bool,
    /// Name or ID of the container
    pub(crate) container: String,
    /// Command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}

pub(crate) fn exec(place: &Place, flags: &Exec) -> Result<u8, Error> {
    let record = containers::find(place, &flags.container)?;
    if !record.pid.is_some_and(|init| init.is_alive()) {
        return Err(Error::NotRunning(flags.container.clone()));
    }
    // A terminal is carried between two processes, of which one may leave.
    let (handover, caller) = match (flags.detach, flags.tty) {
        (true, _) => (detach::detach()?, None),
        (false, true) => {
            let (handover, caller) = detach::detach_attached()?;
            (handover, Some(caller))
        }
        (false, false) => (Handover::none(), None),
    };
    if let Some(session) = handover.started_id() {
        return match caller {
            Some(caller) => attach::with(&caller, &flags.attach, flags.interactive, true),
            None => say(session).map(|()| 0),
        };
    }
    drop(caller);
    handover.outcome(enter(place, &record, flags, &handover))
}

fn enter(place: &Place, record: &Record, flags: &Exec, handover: &Handover) -> Result<u8, Error> {
    let (env, env_file) = (flags.env.clone(), flags.env_file.clone());
    let program = ProgramFlags { env, env_file, ..ProgramFlags::default() };
    let environment = asked::environment(&program, false, &host_environment())?;
    let entry = Entry {
        command: &flags.command,
        environment: &environment,
        user: flags.user.as_deref(),
        directory: flags.workdir.as_deref(),
        terminal: flags.tty,
        privileged: flags.privileged,
    };
    place.join(record.supervisor)?;
    let entering = enter::prepare(place, record, &entry)?;
    if !flags.interactive {
        enter::close_input()?;
    }
    if flags.detach {
        enter::close_output()?;
    }
    let mut signals = Signals::take()?;
    let started = entering.start();
    drop(entering);
    let (command, terminal) = started?;
    signals.check()?;
    let session = name::new_id().map(|id| id.to_string()).unwrap_or_default();
    handover.started(&session)?;
    let Some(terminal) = terminal else { return attend(command, signals, None) };
    let mut control = Control::closed();
    if let Some(caller) = handover.attached()? {
        control.adopt(caller);
    }
    let input = Input::terminal(&terminal, flags.interactive)?;
    let output = Output::of_terminal(terminal);
    attend(command, signals, Some(Traffic { control: &mut control, output, input }))
}
