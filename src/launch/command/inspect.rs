//! `updater-launch inspect`

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::launch::image::find::look_for;
use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::view::container::Container;
use crate::launch::view::{image, inspect};
use crate::launch::{Error, show as print};
use crate::terminal::template::Format;

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// What the names name: by default a container, else an image
    #[arg(short = 't', long = "type", value_name = "KIND", default_value = "all")]
    pub(crate) kind: Kind,
    #[command(flatten)]
    pub(crate) flags: InspectFlags,
}

// The flags of all that inspects containers.
#[derive(Debug, Args)]
pub(crate) struct InspectFlags {
    /// "json", or a Go template
    #[arg(short, long, value_name = "FORMAT", default_value = "json", hide_default_value = true)]
    pub(crate) format: Format,
    /// Find out what containers take on the disk
    #[arg(short, long)]
    pub(crate) size: bool,
    /// The container that was made last
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Names or IDs of containers, or references or IDs of images
    #[arg(required_unless_present = "latest", conflicts_with = "latest")]
    pub(crate) names: Vec<String>,
}

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    All,
    Container,
    Image,
}

pub(crate) fn show(place: &Place, inspect: &Inspect) -> Result<u8, Error> {
    show_kind(place, inspect.kind, &inspect.flags)
}

/// Shows what is there; what is not, is an error after that.
pub(crate) fn show_kind(place: &Place, kind: Kind, flags: &InspectFlags) -> Result<u8, Error> {
    let mut found = Vec::new();
    let mut missing = None;
    if flags.latest {
        let latest = containers::latest(place)?;
        found.push(container(place, latest.as_str(), flags.size)?);
    }
    for name in &flags.names {
        match one(place, kind, name, flags.size) {
            Ok(document) => found.push(document),
            Err(error) => {
                missing = Some(error);
                break;
            }
        }
    }
    match missing {
        Some(error) if found.is_empty() && !flags.format.is_json() => Err(error),
        Some(error) => print(&flags.format, &found).and(Err(error)),
        None => print(&flags.format, &found).map(|()| 0),
    }
}

fn one(place: &Place, kind: Kind, name: &str, size: bool) -> Result<Value, Error> {
    if kind == Kind::Image {
        return of_image(place, name);
    }
    match container(place, name, size) {
        Err(Error::NoSuchContainer(_)) if kind == Kind::All => of_image(place, name),
        found => found,
    }
}

fn container(place: &Place, name: &str, size: bool) -> Result<Value, Error> {
    let container = Container::find(place, name)?;
    let size = size.then(|| inspect::size(place, &container));
    Ok(inspect::document(place, &container, size))
}

fn of_image(place: &Place, name: &str) -> Result<Value, Error> {
    let nothing = || Error::NothingNamed(name.to_owned());
    let image = look_for(place, &place.store()?, name)?.ok_or_else(nothing)?;
    Ok(image::document(&image))
}
