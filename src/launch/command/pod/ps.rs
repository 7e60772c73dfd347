//! `updater-launch pod ps`

use clap::Args;
use serde_json::{Value, json};

use crate::launch::args::Format;
use crate::launch::command::ps::state;
use crate::launch::place::Place;
use crate::launch::pod::definition::Pod;
use crate::launch::pod::members;
use crate::launch::pod::store::Pods;
use crate::launch::{Error, print_json, say};
use crate::store::containers::Record;
use crate::terminal::Terminal;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 6] = [
    Column::fixed("POD ID"),
    Column::flexible("NAME", 12),
    Column::fixed("STATUS"),
    Column::fixed("CREATED"),
    Column::fixed("INFRA ID"),
    Column::fixed("# OF CONTAINERS"),
];

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
    #[arg(long, default_value = "table")]
    format: Format,
}

pub(crate) fn list(place: &Place, flags: &Ps) -> Result<u8, Error> {
    let id = |pod: &Pod| match flags.no_trunc {
        true => pod.id.as_str().to_owned(),
        false => pod.id.short().to_owned(),
    };
    let pods = Pods::open(place).all()?;
    if flags.quiet {
        pods.iter().try_for_each(|pod| say(id(pod)))?;
        return Ok(0);
    }
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for pod in &pods {
        let members = members::of(place, pod)?;
        let status = members::status(place, pod, &members)?.word();
        rows.push(vec![
            Cell::new(id(pod)),
            Cell::new(pod.name.clone()),
            Cell::new(status),
            Cell::new(format!("{:.0}", pod.created)),
            Cell::new(pod.infra_id.short()),
            // The infra counts, as Podman has it.
            Cell::new((members.len() + 1).to_string()),
        ]);
        documents.push(json!({
            "Id": pod.id,
            "Name": pod.name,
            "Status": status,
            "Created": pod.created,
            "InfraId": pod.infra_id,
            "Labels": pod.labels,
            "Containers": members.iter().map(member).collect::<Vec<_>>(),
        }));
    }
    match flags.format {
        Format::Json => print_json(&documents)?,
        Format::Table => {
            say(render(&COLUMNS, &rows, Terminal::of_stdout()).trim_end_matches('\n'))?;
        }
    }
    Ok(0)
}

fn member(record: &Record) -> Value {
    json!({ "Id": record.id, "Names": record.name, "Status": state(record) })
}
