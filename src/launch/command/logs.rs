//! `updater-launch logs`

use clap::Args;
use jiff::Timestamp;

use crate::launch::Error;
use crate::launch::lifecycle::containers;
use crate::launch::logs::{self, Printer, Style, Wanted};
use crate::launch::place::Place;
use crate::launch::view::filter::moment;
use crate::store::containers::Record;

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what is written from now on, until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only so many of the last lines; a negative number is all
    #[arg(long, value_name = "LINES", default_value_t = -1, allow_hyphen_values = true)]
    pub(crate) tail: i64,
    /// Only what was written since then: a time, or how long ago (10m)
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub(crate) since: Option<Timestamp>,
    /// Only what was written before
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub(crate) until: Option<Timestamp>,
    /// Show times
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Show the container's name before each line
    #[arg(short, long)]
    pub(crate) names: bool,
    /// The container that was made last
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Names or IDs of containers
    #[arg(required_unless_present = "latest", conflicts_with = "latest")]
    pub(crate) containers: Vec<String>,
}

fn time(text: &str) -> Result<Timestamp, String> {
    let wanted = "is neither a time (2026-11-26T08:00:00Z, 1793000000) nor how long ago (10m)";
    moment(text, Timestamp::now()).ok_or_else(|| wanted.to_owned())
}

pub(crate) fn show(place: &Place, flags: &Logs) -> Result<u8, Error> {
    let named = flags.containers.iter().map(|word| containers::find(place, word));
    let mut records: Vec<Record> = named.collect::<Result<_, _>>()?;
    if flags.latest {
        records.push(containers::find(place, containers::latest(place)?.as_str())?);
    }
    let wanted =
        Wanted { since: flags.since, until: flags.until, tail: usize::try_from(flags.tail).ok() };
    let several = records.len() > 1;
    let printer = |record: &Record| {
        let prefix = match (flags.names, several) {
            (true, _) => Some(record.name.clone()),
            (false, true) => Some(record.id.short().to_owned()),
            (false, false) => None,
        };
        Printer::new(Style::new(flags.timestamps, prefix))
    };
    let (journal, files): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.log_driver == "journald");
    let kept = |record: &Record| record.log_driver == "k8s-file" && record.log.path.is_some();
    if let Some(lost) = files.iter().find(|record| !kept(record)) {
        return Err(Error::NoLogs { name: lost.name.clone(), driver: lost.log_driver.clone() });
    }
    if flags.follow && (files.len() > 1 || !files.is_empty() && !journal.is_empty()) {
        return Err(Error::FollowOne);
    }
    for record in &files {
        if let Some(path) = &record.log.path {
            logs::file::show(record, path, wanted, flags.follow, &mut printer(record))?;
        }
    }
    if !journal.is_empty() {
        let mut pairs: Vec<_> = journal
            .into_iter()
            .map(|record| {
                let printer = printer(&record);
                (record, printer)
            })
            .collect();
        logs::journal::show(&mut pairs, wanted, flags.follow)?;
    }
    Ok(0)
}
