//! `updater-launch inspect`

use serde_json::{Value, json};

use clap::Args;

use crate::launch::command::images::find;
use crate::launch::command::ps::state;
use crate::launch::lifecycle::containers;
use crate::launch::network::show;
use crate::launch::place::Place;
use crate::launch::{Error, print_json};

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Names or IDs of containers, or references of images
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

pub(crate) fn show(place: &Place, flags: &Inspect) -> Result<u8, Error> {
    let all = flags.names.iter().map(|name| one(place, name)).collect::<Result<Vec<_>, _>>()?;
    print_json(&all)?;
    Ok(0)
}

/// A container of that name, else an image.
fn one(place: &Place, name: &str) -> Result<Value, Error> {
    let record = match containers::find(place, name) {
        Ok(record) => record,
        Err(Error::NoSuchContainer(_)) => return image(place, name),
        Err(error) => return Err(error),
    };
    let mut value = serde_json::to_value(&record).map_err(Error::Json)?;
    value["state"] = json!(state(&record));
    value["NetworkSettings"] = show::settings(place, &record)?;
    Ok(value)
}

fn image(place: &Place, name: &str) -> Result<Value, Error> {
    let nothing = || Error::NothingNamed(name.to_owned());
    let image = match find(&place.store()?, name) {
        Err(Error::Reference(_)) => return Err(nothing()),
        image => image?.ok_or_else(nothing)?,
    };
    Ok(json!({
        "target": image.identity.target,
        "manifest": image.identity.manifest,
        "platform": image.identity.platform,
        "references": image.references,
        "size": image.size,
        "config": image.config,
    }))
}
