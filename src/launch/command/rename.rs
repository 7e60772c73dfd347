//! `updater-launch rename`

use std::time::Duration;

use clap::Args;

use crate::launch::Error;
use crate::launch::control::connection::Connection;
use crate::launch::control::protocol::{Answer, Request};
use crate::launch::lifecycle::definition::Definition;
use crate::launch::lifecycle::{containers, name};
use crate::launch::place::Place;

/// How long a supervisor may take to write a record: others wait for the lock.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// Name or ID of the container
    pub(crate) container: String,
    /// Its new name
    #[arg(value_parser = name::parse)]
    pub(crate) name: String,
}

/// Only the supervisor writes the record of a container that runs: it is asked to.
pub(crate) fn rename(place: &Place, flags: &Rename) -> Result<u8, Error> {
    let records = place.records();
    let _lock = records.lock()?;
    let mut record = containers::find(place, &flags.container)?;
    let mut all = records.all()?.records.into_iter();
    if let Some(other) = all.find(|other| other.name == flags.name) {
        return Err(Error::NameInUse {
            name: other.name,
            what: "container",
            id: other.id.short().to_owned(),
        });
    }
    if record.is_running() {
        let failed = |source| Error::Unreachable { name: record.name.clone(), source };
        let connection = Connection::open(&record).map_err(failed)?;
        connection.be_patient(PATIENCE).map_err(failed)?;
        connection.ask(&Request::Name(flags.name.clone())).map_err(failed)?;
        return match connection.answer().map_err(failed)? {
            Some(Answer::Done) => Ok(0),
            _ => Err(failed(std::io::ErrorKind::ConnectionReset.into())),
        };
    }
    record.name.clone_from(&flags.name);
    let mut definition = Definition::read(place, &record.id)?;
    definition.create.identity.name = Some(flags.name.clone());
    definition.record.name.clone_from(&flags.name);
    definition.write(place)?;
    records.write(&record)?;
    Ok(0)
}
