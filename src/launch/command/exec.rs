//! `updater-launch exec`

use clap::Args;

use crate::launch::Error;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::enter::{self, Entry};
use crate::launch::place::Place;
use crate::launch::supervise::{Signals, attend};

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
    let entry = Entry {
        command: &flags.command,
        environment: &flags.env,
        user: flags.user.as_deref(),
        directory: flags.workdir.as_deref(),
        privileged: flags.privileged,
    };
    let runs = record.pid.is_some_and(|init| init.is_alive());
    place.join(record.supervisor.filter(|_| runs))?;
    let entering = enter::prepare(place, &record, &entry)?;
    if !flags.interactive {
        enter::close_input()?;
    }
    let mut signals = Signals::take()?;
    let command = entering.start();
    drop(entering);
    let command = command?;
    signals.check()?;
    attend(command, signals)
}
