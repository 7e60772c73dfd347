//! `updater-launch events`

use std::time::Duration;

use clap::{ArgAction, Args};
use jiff::Timestamp;
use serde_json::Value;

use crate::launch::events::Event;
use crate::launch::events::read::{EventFilter, Events as Log};
use crate::launch::place::Place;
use crate::launch::view::filter::{Filters, moment};
use crate::launch::{Error, nobody_reads, say, show};
use crate::terminal::template::Format;

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// From then on: a time, or how long ago (10m); without, only what is still to come
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// Until then
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Only events that KEY=VALUE holds for: container, event, image, label, type
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Wait for more; --stream=false shows all there were
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    stream: bool,
    /// "json", a line for each, or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Format,
}

/// How often the file is looked at for more.
const LOOK: Duration = Duration::from_millis(200);

fn time(text: &str) -> Result<Timestamp, String> {
    let wanted = "is neither a time (2026-11-26T08:00:00Z, 1793000000) nor how long ago (10m)";
    moment(text, Timestamp::now()).ok_or_else(|| wanted.to_owned())
}

pub(crate) fn events(place: &Place, flags: &Events) -> Result<u8, Error> {
    let filter = EventFilter::new(&Filters::parse(&flags.filter)?)?;
    let begin = Timestamp::now();
    let since = match (flags.since, flags.stream && flags.until.is_none_or(|until| until > begin)) {
        (Some(since), _) => Some(since),
        (None, true) => Some(begin),
        (None, false) => None,
    };
    let mut log = Log::open(place)?;
    loop {
        while let Some(event) = log.next()? {
            let in_time = since.is_none_or(|since| event.time >= since)
                && flags.until.is_none_or(|until| event.time <= until);
            if in_time && filter.holds(&event) {
                print(&event, &flags.format)?;
            }
        }
        let over = flags.until.is_some_and(|until| until <= Timestamp::now());
        if !flags.stream || over || nobody_reads() {
            return Ok(0);
        }
        std::thread::sleep(LOOK);
    }
}

fn print(event: &Event, format: &Format) -> Result<(), Error> {
    let document = serde_json::to_value(event).map_err(Error::Json)?;
    match format {
        Format::Table => say(line(event)),
        Format::Json => say(document),
        format => show(format, &[with_all(document)]),
    }
}

/// A template may ask for what this event has not.
fn with_all(mut document: Value) -> Value {
    if document["ContainerExitCode"].is_null() {
        document["ContainerExitCode"] = 0.into();
    }
    document
}

fn line(event: &Event) -> String {
    let Event { time, kind, status, id, name, image, attributes, .. } = event;
    let time = time.strftime("%Y-%m-%d %H:%M:%S.%9f +0000 UTC");
    if kind == "image" {
        return clean(&format!("{time} {kind} {status} {id} {name}"));
    }
    let labels: String = attributes.iter().map(|(key, value)| format!(", {key}={value}")).collect();
    clean(&format!("{time} {kind} {status} {id} (image={image}, name={name}{labels})"))
}

/// Labels must not steer the terminal.
fn clean(text: &str) -> String {
    text.replace(|letter: char| letter.is_control(), " ")
}
