//! `updater-launch volume …`: one file for each command.

pub(crate) mod create;
pub(crate) mod exists;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod rm;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::launch::Error;
use crate::launch::place::Place;
use crate::launch::storage::volumes::{Named, Volumes};

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Make a volume
    Create(create::Create),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(ls::List),
    /// Show all that is known of volumes, as JSON
    Inspect(inspect::Inspect),
    /// Remove volumes; exit status 1 where there is none such, 2 where a container uses it
    Rm(rm::Remove),
    /// Remove volumes that no container uses
    Prune(prune::Prune),
    /// Whether there is such a volume: exit status 0, else 1
    Exists(exists::Exists),
}

pub(crate) fn carry_out(place: &Place, command: &Command) -> Result<u8, Error> {
    match command {
        Command::Create(create) => create::create(place, create),
        Command::Ls(list) => ls::list(place, list),
        Command::Inspect(inspect) => inspect::show(place, inspect),
        Command::Rm(remove) => rm::remove(place, remove),
        Command::Prune(prune) => prune::prune(place, prune),
        Command::Exists(exists) => exists::exists(place, exists),
    }
}

/// A volume by Podman's names (podman-volume-inspect(1)).
fn shown(volumes: &Volumes, named: &Named) -> Value {
    json!({
        "Name": named.name,
        "Driver": "local",
        "Mountpoint": volumes.data(&named.name),
        "CreatedAt": named.created,
        "Labels": named.labels,
        "Scope": "local",
        "Options": named.options,
        "Anonymous": named.anonymous,
        "NeedsCopyUp": named.fresh,
    })
}

/// `KEY=VALUE` of `--filter`.
#[derive(Debug, Clone)]
pub(crate) enum Filter {
    Name(String),
    Label(String, Option<String>),
    Driver(String),
    Dangling(bool),
    Anonymous(bool),
}

/// A value parser for clap.
pub(crate) fn filter(text: &str) -> Result<Filter, String> {
    let (key, value) = text.split_once('=').ok_or("a filter is KEY=VALUE")?;
    let yes = || value.parse().map_err(|_| format!("{key} is true or false"));
    Ok(match key {
        "name" => Filter::Name(value.to_owned()),
        "label" => match value.split_once('=') {
            Some((label, value)) => Filter::Label(label.to_owned(), Some(value.to_owned())),
            None => Filter::Label(value.to_owned(), None),
        },
        "driver" => Filter::Driver(value.to_owned()),
        "dangling" => Filter::Dangling(yes()?),
        "anonymous" => Filter::Anonymous(yes()?),
        _ => return Err("filters are name, label, driver, dangling, anonymous".to_owned()),
    })
}

impl Filter {
    /// `used` says whether a container uses the volume.
    fn suits(&self, named: &Named, used: bool) -> bool {
        match self {
            Self::Name(part) => named.name.contains(part.as_str()),
            Self::Label(label, wanted) => named
                .labels
                .get(label)
                .is_some_and(|value| wanted.as_ref().is_none_or(|wanted| wanted == value)),
            Self::Driver(driver) => driver == "local",
            Self::Dangling(dangling) => *dangling != used,
            Self::Anonymous(anonymous) => *anonymous == named.anonymous,
        }
    }
}

/// Whether all filters of different kinds hold, and of one kind any.
fn suits(filters: &[Filter], named: &Named, used: bool) -> bool {
    let same = |a: &Filter, b: &Filter| std::mem::discriminant(a) == std::mem::discriminant(b);
    filters.iter().all(|filter| {
        filters.iter().filter(|other| same(filter, other)).any(|other| other.suits(named, used))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn filters_of_one_kind_are_alternatives() {
        let named = Named {
            name: "data".into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            labels: BTreeMap::from([("a".into(), "b".into())]),
            options: BTreeMap::new(),
            anonymous: false,
            fresh: false,
        };
        let holds = |texts: &[&str], used| {
            let filters: Vec<_> = texts.iter().map(|text| filter(text).unwrap()).collect();
            suits(&filters, &named, used)
        };
        assert!(holds(&[], false) && holds(&["name=at", "name=x"], false));
        assert!(holds(&["label=a", "dangling=true"], false));
        assert!(!holds(&["label=a=c"], false) && !holds(&["dangling=true"], true));
        assert!(!holds(&["name=data", "anonymous=true"], false));
        assert!(filter("name").is_err() && filter("x=y").is_err() && filter("dangling=x").is_err());
    }
}
