//! `updater-launch ps`

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

use crate::launch::lifecycle::traces;
use crate::launch::place::Place;
use crate::launch::view::container::Container;
use crate::launch::view::filter::{ContainerFilter, Filters};
use crate::launch::view::{inspect, row};
use crate::launch::{Error, list as print_list, say, show};
use crate::terminal::template::{Format, Layout};

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Show containers that do not run, too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only containers that KEY=VALUE holds for: name, id, label, status, ancestor, exited, volume,
    /// network, pod, before, since, until
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Only the last that were made, running or not
    #[arg(short = 'n', long, value_name = "COUNT", conflicts_with = "latest")]
    pub(crate) last: Option<usize>,
    /// Only the one that was made last, running or not
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Print IDs only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Do not shorten IDs and commands
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Leave the headings out
    #[arg(long)]
    pub(crate) noheading: bool,
    /// Show what containers take on the disk
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) size: bool,
    /// Show pods, too
    #[arg(short, long)]
    pub(crate) pod: bool,
    #[arg(long, value_name = "FIELD", default_value = "created")]
    pub(crate) sort: Sort,
    /// "json", or a Go template, after "table" one with headings
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    pub(crate) format: Format,
}

/// What a list of containers is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Command,
    Created,
    Id,
    Image,
    Names,
    Runningfor,
    Size,
    Status,
}

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("CreatedHuman", "CREATED"),
    ("RunningFor", "CREATED"),
    ("Pod", "POD ID"),
    ("PodName", "PODNAME"),
    ("ImageID", "IMAGE ID"),
    ("CreatedAt", "CREATED AT"),
];
const COLUMNS: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.CreatedHuman}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

pub(crate) fn list(place: &Place, flags: &Ps) -> Result<u8, Error> {
    traces::reconcile(place);
    let now = Timestamp::now();
    let containers = select(place, flags, now)?;
    if flags.quiet && flags.format == Format::Table {
        for container in &containers {
            let id = &container.record.id;
            say(if flags.no_trunc { id.as_str() } else { id.short() })?;
        }
        return Ok(0);
    }
    let sized = flags.size || flags.sort == Sort::Size || flags.format.mentions(".Size");
    let size = |container: &Container| sized.then(|| inspect::size(place, container));
    let mut containers: Vec<_> =
        containers.into_iter().map(|container| (size(&container), container)).collect();
    if flags.sort == Sort::Size {
        containers.sort_by_key(|(size, _)| size.map(|size| size.writable));
    }
    if flags.format.is_json() {
        let rows: Vec<Value> = containers
            .iter()
            .map(|(size, container)| row::json(place, container, *size, now))
            .collect();
        return show(&flags.format, &rows).map(|()| 0);
    }
    let whole = flags.no_trunc;
    let rows: Vec<Value> = containers
        .iter()
        .map(|(size, container)| row::fields(place, container, *size, whole, now))
        .collect();
    let mut template = COLUMNS.to_owned();
    if flags.pod {
        template.push_str("\t{{.Pod}}\t{{.PodName}}");
    }
    if flags.size {
        template.push_str("\t{{.Size}}");
    }
    let layout = Layout { template: &template, headings: HEADINGS, heading: !flags.noheading };
    print_list(&flags.format, layout, &rows)?;
    Ok(0)
}

fn select(place: &Place, flags: &Ps, now: Timestamp) -> Result<Vec<Container>, Error> {
    let mut containers = Container::all(place)?;
    let filter = ContainerFilter::new(&Filters::parse(&flags.filter)?, &containers, now)?;
    let last = flags.last.or(flags.latest.then_some(1));
    let all = flags.all || last.is_some() || filter.names_states();
    containers
        .retain(|container| (all || container.record.is_running()) && filter.holds(container));
    if let Some(last) = last {
        containers.drain(..containers.len().saturating_sub(last));
    }
    match flags.sort {
        // The newest first, as in Podman.
        Sort::Created | Sort::Runningfor => containers.reverse(),
        Sort::Command => containers.sort_by(|a, b| a.record.command.cmp(&b.record.command)),
        Sort::Id => containers.sort_by(|a, b| a.record.id.cmp(&b.record.id)),
        Sort::Image => containers.sort_by_key(|container| container.record.reference.to_string()),
        Sort::Names => containers.sort_by(|a, b| a.record.name.cmp(&b.record.name)),
        Sort::Status => containers.sort_by_key(|container| row::status(container, now)),
        Sort::Size => {}
    }
    Ok(containers)
}
