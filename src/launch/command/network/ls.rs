//! `updater-launch network ls`

use clap::Args;

use crate::launch::args::Format;
use crate::launch::network::networks::Network;
use crate::launch::place::Place;
use crate::launch::{Error, network, print_json, say};
use crate::terminal::Terminal;
use crate::terminal::table::{Cell, Column, render};

const COLUMNS: [Column; 3] =
    [Column::fixed("NETWORK ID"), Column::flexible("NAME", 12), Column::fixed("DRIVER")];

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
    #[arg(long, default_value = "table")]
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
    if flags.quiet {
        networks.iter().try_for_each(|network| say(&network.name))?;
    } else if flags.format == Format::Json {
        print_json(&networks)?;
    } else {
        let rows: Vec<_> = networks.iter().map(|network| row(network, flags)).collect();
        say(render(&COLUMNS, &rows, Terminal::of_stdout()).trim_end_matches('\n'))?;
    }
    Ok(0)
}

fn row(network: &Network, flags: &Ls) -> Vec<Cell> {
    let id = network.id.get(..12).filter(|_| !flags.no_trunc).unwrap_or(&network.id);
    vec![Cell::new(id), Cell::new(&network.name), Cell::new(&network.driver)]
}
