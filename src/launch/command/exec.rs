//! `updater-launch exec`

use std::path::PathBuf;

use clap::Args;

use crate::launch::isolation::capability::Capabilities;
use crate::launch::isolation::limits::Limits;
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::process::defaults::{ExecDefaults, write_json};
use crate::launch::process::environment::{DEFAULT_PATH, Environment};
use crate::launch::process::user::resolve;
use crate::launch::spec::{Program, process};
use crate::launch::storage::rootfs;
use crate::launch::supervise::{Init, Signals, attend};
use crate::launch::{Error, host_environment, runtime};

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
    /// Name or ID of the container
    pub(crate) container: String,
    /// Command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}

pub(crate) fn exec(place: &Place, flags: &Exec) -> Result<u8, Error> {
    let record = containers::find(place, &flags.container)?;
    let Some(init) = record.pid.filter(|process| process.is_alive()) else {
        return Err(Error::NotRunning(flags.container.clone()));
    };
    place.join(record.supervisor)?;
    let root = PathBuf::from(format!("/proc/{}/root", init.pid));
    let read = |file| rootfs::read_in(&root, file).unwrap_or_default();
    let defaults = ExecDefaults::read(place, &record.id)?;
    let user = flags.user.clone().unwrap_or(defaults.user);
    let user = resolve(&user, &read("/etc/passwd"), &read("/etc/group"))?;
    let mut environment = Environment::default();
    let host = host_environment();
    defaults.environment.iter().for_each(|variable| environment.inherit(variable));
    for variable in &flags.env {
        environment.apply(variable, &host).map_err(Error::Variable)?;
    }
    environment.set_default("PATH", DEFAULT_PATH);
    environment.set_default("HOME", user.home.as_deref().unwrap_or("/"));
    let directory = flags.workdir.as_deref().unwrap_or(&defaults.directory);
    if !directory.starts_with('/') {
        return Err(Error::Workdir(directory.to_owned()));
    }
    let capabilities =
        Capabilities::new(&defaults.cap_add, &defaults.cap_drop, user.uid, &defaults.available)?;
    let program = Program {
        user: &user,
        arguments: flags.command.clone(),
        environment: environment.to_strings(),
        directory,
        capabilities: &capabilities,
        limits: Limits::current(),
    };
    let process = process(program).map_err(|error| Error::Spec(error.to_string()))?;
    let name = format!("exec-{}.json", std::process::id());
    let file = place.records().directory(&record.id).join(name);
    write_json(&file, &process)?;
    if !flags.interactive {
        close_input()?;
    }
    let prepared =
        runtime::Prepared { uid: user.uid, directory: directory.to_owned(), capabilities };
    let mut signals = Signals::take()?;
    let pid = runtime::exec(&record.id, &place.runtime(), &file, &prepared);
    let _ = std::fs::remove_file(&file);
    let command = Init::new(pid?);
    signals.check()?;
    attend(command, signals)
}

/// Without `--interactive` the command reads end of file, as in podman-exec(1).
fn close_input() -> Result<(), Error> {
    let null = std::fs::File::open("/dev/null")
        .map_err(|source| Error::file("open", "/dev/null", source))?;
    rustix::stdio::dup2_stdin(&null).map_err(|error| Error::system("close standard input", error))
}
