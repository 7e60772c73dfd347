//! `updater-launch port`

use clap::Args;

use crate::launch::lifecycle::containers;
use crate::launch::network::publish::{Protocol, Publish};
use crate::launch::network::show;
use crate::launch::place::Place;
use crate::launch::{Error, network, say};

#[derive(Debug, Args)]
pub(crate) struct Port {
    /// Of all containers that run
    #[arg(short, long)]
    all: bool,
    /// Name, or ID, or the beginning of one
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    container: Option<String>,
    /// Only where this port of the container is published
    #[arg(value_name = "PORT[/PROTOCOL]", conflicts_with = "all", value_parser = inside)]
    port: Option<(u16, Protocol)>,
}

/// A port of a container: `80`, `53/udp`.
fn inside(text: &str) -> Result<(u16, Protocol), String> {
    match text.parse::<Publish>() {
        Ok(Publish { host_ip: None, host: None, container, count: 1, protocol })
            if !text.contains(':') =>
        {
            Ok((container, protocol))
        }
        _ => Err("expected a port, such as 80 or 53/udp".to_owned()),
    }
}

pub(crate) fn show(place: &Place, flags: &Port) -> Result<u8, Error> {
    let Some(word) = &flags.container else {
        for record in place.records().all()?.records {
            for line in show::lines(&show::ports(place, &record)?) {
                say(format_args!("{}\t{line}", record.id.short()))?;
            }
        }
        return Ok(0);
    };
    let record = containers::find(place, word)?;
    let ports = show::ports(place, &record)?;
    let Some((port, protocol)) = flags.port else {
        show::lines(&ports).try_for_each(say)?;
        return Ok(0);
    };
    let hosts: Vec<String> = show::hosts_of(&ports, port, protocol).collect();
    if hosts.is_empty() {
        let (port, container) = (format!("{port}/{protocol}"), record.name);
        return Err(network::Error::NotPublished { port, container }.into());
    }
    hosts.into_iter().try_for_each(say)?;
    Ok(0)
}
