//! `updater-launch pod ps`

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::launch::place::Place;
use crate::launch::pod::definition::Pod;
use crate::launch::pod::filter::{PodFilter, Seen};
use crate::launch::pod::members;
use crate::launch::pod::store::Pods;
use crate::launch::view::container::state;
use crate::launch::view::filter::Filters;
use crate::launch::view::words;
use crate::launch::{Error, list as print_list, say, show};
use crate::store::containers::Record;
use crate::terminal::template::{Format, Layout};

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "POD ID"),
    ("Id", "POD ID"),
    ("InfraID", "INFRA ID"),
    ("InfraId", "INFRA ID"),
    ("NumberOfContainers", "# OF CONTAINERS"),
];
const COLUMNS: &str =
    "{{.ID}}\t{{.Name}}\t{{.Status}}\t{{.Created}}\t{{.InfraID}}\t{{.NumberOfContainers}}";

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
    /// Only those for which KEY=VALUE holds: ctr-ids, ctr-names, ctr-number, ctr-status, id, label,
    /// name, status
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Leave the headings out
    #[arg(short, long)]
    noheading: bool,
    /// "json", or a Go template, after "table" one with headings
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Format,
}

pub(crate) fn list(place: &Place, flags: &Ps) -> Result<u8, Error> {
    let filter = PodFilter::new(&Filters::parse(&flags.filter)?)?;
    let mut pods = Vec::new();
    for pod in Pods::open(place).all()? {
        let members = members::of(place, &pod)?;
        let status = members::status(place, &pod, &members)?;
        if filter.holds(&Seen { pod: &pod, status, members: &members }) {
            pods.push(pod);
        }
    }
    let short = |id: &str| match flags.no_trunc {
        true => id.to_owned(),
        false => id.chars().take(12).collect(),
    };
    if flags.quiet && flags.format == Format::Table {
        pods.iter().try_for_each(|pod| say(short(pod.id.as_str())))?;
        return Ok(0);
    }
    let documents = pods.iter().map(|pod| document(place, pod)).collect::<Result<Vec<_>, _>>()?;
    if flags.format.is_json() {
        return show(&flags.format, &documents).map(|()| 0);
    }
    let now = Timestamp::now();
    let fields = |(mut fields, pod): (Value, &Pod)| {
        fields["ID"] = short(pod.id.as_str()).into();
        fields["InfraID"] = short(pod.infra_id.as_str()).into();
        fields["Created"] = words::ago(pod.created, now).into();
        fields
    };
    let rows: Vec<Value> = documents.into_iter().zip(&pods).map(fields).collect();
    let layout = Layout { template: COLUMNS, headings: HEADINGS, heading: !flags.noheading };
    print_list(&flags.format, layout, &rows)?;
    Ok(0)
}

fn document(place: &Place, pod: &Pod) -> Result<Value, Error> {
    let members = members::of(place, pod)?;
    Ok(json!({
        "Id": pod.id,
        "Name": pod.name,
        "Status": members::status(place, pod, &members)?.word(),
        "Created": pod.created,
        "InfraId": pod.infra_id,
        "Labels": pod.labels,
        // The infra counts, as Podman has it.
        "NumberOfContainers": members.len() + 1,
        "Containers": members.iter().map(member).collect::<Vec<_>>(),
    }))
}

fn member(record: &Record) -> Value {
    json!({ "Id": record.id, "Names": record.name, "Status": state(record) })
}
