//! `updater-launch network ls`

use clap::Args;
use serde_json::{Value, json};

use crate::launch::network::networks::Network;
use crate::launch::place::Place;
use crate::launch::{Error, list as print_list, network, say, show};
use crate::terminal::template::{Format, Layout};

const HEADINGS: &[(&str, &str)] = &[("ID", "NETWORK ID")];
const COLUMNS: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}";

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
    /// Only those of this name (or a part of it), id, driver, or label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Leave the headings out
    #[arg(short, long)]
    noheading: bool,
    /// "json", or a Go template, after "table" one with headings
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Format,
}

/// Which networks are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    Name(String),
    Id(String),
    Driver(String),
    Label(String, Option<String>),
}

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some(("name", value)) => Ok(Self::Name(value.to_owned())),
            Some(("id", value)) => Ok(Self::Id(value.to_owned())),
            Some(("driver", value)) => Ok(Self::Driver(value.to_owned())),
            Some(("label", label)) => Ok(match label.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(label.to_owned(), None),
            }),
            _ => Err("expected name=, id=, driver=, or label=".to_owned()),
        }
    }
}

impl Filter {
    pub(crate) fn fits(&self, network: &Network) -> bool {
        match self {
            Self::Name(part) => network.name.contains(part.as_str()),
            Self::Id(start) => network.id.starts_with(start.as_str()),
            Self::Driver(driver) => network.driver == *driver,
            Self::Label(key, value) => {
                let have = network.labels.get(key);
                have.is_some_and(|have| value.as_ref().is_none_or(|value| have == value))
            }
        }
    }
}

pub(crate) fn list(place: &Place, flags: &Ls) -> Result<u8, Error> {
    let mut networks = network::all(place)?;
    networks.retain(|network| flags.filter.iter().all(|filter| filter.fits(network)));
    if flags.quiet && flags.format == Format::Table {
        networks.iter().try_for_each(|network| say(&network.name))?;
        return Ok(0);
    }
    if flags.format.is_json() {
        let all = networks.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
        return show(&flags.format, &all.map_err(Error::Json)?).map(|()| 0);
    }
    let rows: Vec<Value> = networks.iter().map(|network| fields(network, flags)).collect();
    let layout = Layout { template: COLUMNS, headings: HEADINGS, heading: !flags.noheading };
    print_list(&flags.format, layout, &rows)?;
    Ok(0)
}

/// For templates, in Podman's names.
fn fields(network: &Network, flags: &Ls) -> Value {
    let id = network.id.get(..12).filter(|_| !flags.no_trunc).unwrap_or(&network.id);
    json!({
        "ID": id,
        "Name": network.name,
        "Driver": network.driver,
        "Created": network.created,
        "Internal": network.internal,
        "IPv6Enabled": network.ipv6_enabled,
        "DNSEnabled": network.dns_enabled,
        "NetworkInterface": network.network_interface,
        "Subnets": network.subnets,
        "Labels": network.labels,
        "Options": network.options,
    })
}
