//! `updater-launch volume create`

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;

use crate::launch::lifecycle::{asked, name};
use crate::launch::place::Place;
use crate::launch::storage::volumes::{self, Named, Volumes};
use crate::launch::{Error, say};

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Option of the local driver: type=tmpfs, or type=none with device=DIR and o=bind; o= has more
    /// mount options
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// The driver: there is local
    #[arg(short, long, value_name = "NAME", value_parser = ["local"], default_value = "local")]
    driver: String,
    /// A volume that is there already is no error
    #[arg(long)]
    ignore: bool,
    /// Name of the volume; one is made up where there is none
    #[arg(value_parser = name::parse)]
    name: Option<String>,
}

pub(crate) fn create(place: &Place, flags: &Create) -> Result<u8, Error> {
    let name = match &flags.name {
        Some(name) => name.clone(),
        None => name::new_id()
            .ok_or_else(|| Error::system("make a name", std::io::ErrorKind::Other))?
            .to_string(),
    };
    let mut options = BTreeMap::new();
    for word in &flags.opt {
        let pair = word.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) =
            pair.ok_or_else(|| volumes::Error::Option(word.clone(), "is not KEY=VALUE"))?;
        options.insert(key.to_owned(), value.to_owned());
    }
    let named = Named {
        name,
        created: Timestamp::now(),
        labels: asked::labels(&flags.label)?,
        options,
        anonymous: false,
        fresh: true,
    };
    named.backing()?;
    match Volumes::open(place).create(&named) {
        Err(volumes::Error::Exists(_)) if flags.ignore => {}
        made => made?,
    }
    say(&named.name)?;
    Ok(0)
}
