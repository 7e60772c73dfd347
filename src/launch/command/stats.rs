//! `updater-launch stats`

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::launch::lifecycle::containers;
use crate::launch::measure::usage::{Sample, document};
use crate::launch::place::Place;
use crate::launch::view::container::Container;
use crate::launch::{Error, list, print, show};
use crate::terminal::template::{Format, Layout};

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Show containers that do not run, too
    #[arg(short, long)]
    all: bool,
    /// The container that was made last
    #[arg(short, long, conflicts_with_all = ["all", "containers"])]
    latest: bool,
    /// Only once
    #[arg(long)]
    no_stream: bool,
    /// Do not clear the screen in between
    #[arg(long)]
    no_reset: bool,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// "json", or a Go template, after "table" one with headings
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Format,
    /// Names or IDs; by default all that run
    #[arg(conflicts_with = "all")]
    containers: Vec<String>,
}

const COLUMNS: &str = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t\
                       {{.BlockIO}}\t{{.PIDS}}\t{{.CPUTime}}\t{{.AVGCPU}}";
const HEADINGS: &[(&str, &str)] = &[
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET IO"),
    ("BlockIO", "BLOCK IO"),
    ("CPUTime", "CPU TIME"),
    ("UpTime", "CPU TIME"),
    ("AVGCPU", "AVG CPU %"),
];

/// Prints what containers use, until nobody reads it any more, or none of those that were named runs.
pub(crate) fn stats(place: &Place, flags: &Stats) -> Result<u8, Error> {
    let clears = !flags.no_stream && !flags.no_reset && std::io::stdout().is_terminal();
    let mut before: BTreeMap<String, Sample> = BTreeMap::new();
    loop {
        let containers = select(place, flags)?;
        let mut samples = BTreeMap::new();
        let mut rows = Vec::new();
        for container in &containers {
            let id = container.record.id.to_string();
            let sample = Sample::take(container);
            rows.push(sample.row(container, before.get(&id), flags.no_trunc));
            samples.insert(id, sample);
        }
        before = samples;
        if clears {
            print("\x1b[2J\x1b[H")?;
        }
        if flags.format.is_json() {
            show(&flags.format, &rows.iter().map(document).collect::<Vec<Value>>())?;
        } else {
            let layout = Layout { template: COLUMNS, headings: HEADINGS, heading: true };
            list(&flags.format, layout, &rows)?;
        }
        if flags.no_stream || crate::launch::nobody_reads() {
            return Ok(0);
        }
        std::thread::sleep(Duration::from_secs(flags.interval));
    }
}

fn select(place: &Place, flags: &Stats) -> Result<Vec<Container>, Error> {
    if flags.latest {
        let latest = containers::latest(place)?;
        return Ok(vec![Container::find(place, latest.as_str())?]);
    }
    if !flags.containers.is_empty() {
        return flags.containers.iter().map(|word| Container::find(place, word)).collect();
    }
    let all = Container::all(place)?.into_iter();
    Ok(all.filter(|container| flags.all || container.record.is_running()).collect())
}
