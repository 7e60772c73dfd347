//! `updater-launch wait`

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::launch::control::connection::Connection;
use crate::launch::control::protocol::Request;
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::view::container::state;
use crate::launch::{Error, say};
use crate::store::containers::Record;

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// What to wait for: one of these is enough
    #[arg(long, value_name = "CONDITION", value_delimiter = ',', default_value = "stopped")]
    pub(crate) condition: Vec<Condition>,
    /// How often a condition other than the end is looked at; milliseconds where it has no unit
    #[arg(short, long, value_name = "TIME", default_value = "250ms", value_parser = interval)]
    pub(crate) interval: Duration,
    /// A container that is not there is no error
    #[arg(long)]
    pub(crate) ignore: bool,
    /// Names, or IDs, or the beginnings of such
    #[arg(required = true)]
    pub(crate) containers: Vec<String>,
}

/// What a container can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Condition {
    Created,
    Running,
    Paused,
    Stopped,
    Exited,
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    }
}

/// Prints an exit status for each container; -1 for one that did not end.
pub(crate) fn wait(place: &Place, flags: &Wait) -> Result<u8, Error> {
    let mut waited = Vec::new();
    for word in &flags.containers {
        match containers::find(place, word) {
            Err(Error::NoSuchContainer(_)) if flags.ignore => say(-1)?,
            record => waited.push(record?),
        }
    }
    for record in waited {
        say(one(place, flags, record)?)?;
    }
    Ok(0)
}

fn one(place: &Place, flags: &Wait, record: Record) -> Result<i32, Error> {
    let ends = |condition: &Condition| matches!(condition, Condition::Stopped | Condition::Exited);
    if flags.condition.iter().all(ends) {
        return end(place, record);
    }
    let mut record = record;
    loop {
        let now = state(&record);
        if flags.condition.iter().any(|condition| holds(*condition, now)) {
            return Ok(status(&record));
        }
        std::thread::sleep(flags.interval);
        match place.records().get(&record.id)? {
            Some(now) => record = now,
            // Removed: it has ended, whatever else was waited for.
            None if flags.condition.iter().any(ends) => return Ok(-1),
            None => return Err(Error::NoSuchContainer(record.name)),
        }
    }
}

fn holds(condition: Condition, state: &str) -> bool {
    match condition {
        Condition::Created => state == "created",
        Condition::Running => state == "running",
        Condition::Paused => state == "paused",
        Condition::Stopped | Condition::Exited => state == "exited",
    }
}

/// Its supervisor knows how it ended, even where nothing of it stays.
fn end(place: &Place, record: Record) -> Result<i32, Error> {
    let mut last = record;
    loop {
        let told = Connection::open(&last).and_then(|connection| {
            connection.ask(&Request::Await)?;
            connection.end()
        });
        if let Ok(Some(status)) = told {
            return Ok(status.into());
        }
        // Asked before the record is read: a supervisor writes how it ended, and then ends.
        let runs = last.is_running();
        let Some(now) = place.records().get(&last.id)? else { return Ok(-1) };
        if !runs && !now.is_running() {
            return Ok(status(&now));
        }
        // It is being started, or outlived its supervisor.
        std::thread::sleep(Duration::from_millis(100));
        last = now;
    }
}

fn status(record: &Record) -> i32 {
    record.ended.map_or(-1, |ended| ended.status.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_podmans() {
        assert_eq!(interval("250").unwrap(), Duration::from_millis(250));
        assert_eq!(interval("2s").unwrap(), Duration::from_secs(2));
        assert!(interval("soon").is_err());
    }
}
