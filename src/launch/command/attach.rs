//! `updater-launch attach`

use clap::{ArgAction, Args};

use crate::launch::Error;
use crate::launch::attach::keys::{DEFAULT, Keys};
use crate::launch::attach::{Manner, Parting, attach};
use crate::launch::control::connection::Connection;
use crate::launch::control::protocol::Request;
use crate::launch::lifecycle::containers;
use crate::launch::lifecycle::definition::Definition;
use crate::launch::place::Place;
use crate::store::containers::Record;

// What people say of how they are attached.
#[derive(Debug, Args)]
pub(crate) struct AttachFlags {
    /// Keys that leave the container, which goes on; none where empty
    #[arg(long, value_name = "KEYS", default_value = DEFAULT)]
    pub(crate) detach_keys: Keys,
    /// Whether signals that come for this program are the container's
    #[arg(long, value_name = "BOOL", default_value = "true", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    pub(crate) sig_proxy: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Attach {
    #[command(flatten)]
    pub(crate) flags: AttachFlags,
    /// Do not pass on standard input
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Name or ID of the container
    pub(crate) container: String,
}

pub(crate) fn run(place: &Place, flags: &Attach) -> Result<u8, Error> {
    let record = containers::find(place, &flags.container)?;
    to_running(place, &record, &flags.flags, !flags.no_stdin)
}

/// Attaches to a container that runs already; its exit status.
pub(crate) fn to_running(
    place: &Place,
    record: &Record,
    flags: &AttachFlags,
    input: bool,
) -> Result<u8, Error> {
    if !record.pid.is_some_and(|init| init.is_alive()) {
        return Err(Error::NotRunning(record.name.clone()));
    }
    let process = Definition::read(place, &record.id)?.create.process;
    let thrown_away = record.log_driver == "none" && !process.can_be_talked_to();
    if thrown_away || record.log_driver == "passthrough" {
        let (name, driver) = (record.name.clone(), record.log_driver.clone());
        return Err(Error::NoOutput { name, driver });
    }
    let failed = |source| Error::Unreachable { name: record.name.clone(), source };
    let connection = Connection::open(record).map_err(failed)?;
    connection.ask(&Request::Attach).map_err(failed)?;
    with(&connection, flags, input && process.interactive, process.tty)
}

/// Attaches over a connection; the program's exit status, 0 where it goes on without us.
pub(crate) fn with(
    connection: &Connection,
    flags: &AttachFlags,
    input: bool,
    terminal: bool,
) -> Result<u8, Error> {
    let keys = flags.detach_keys.clone();
    let manner = Manner { input, terminal, signals: flags.sig_proxy, keys };
    match attach(connection, &manner)? {
        Parting::Ended(status) => Ok(status),
        Parting::Detached => Ok(0),
    }
}
