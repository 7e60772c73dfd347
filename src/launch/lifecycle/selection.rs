//! The containers of a command line that may name several: each is done, whatever becomes of the
//! others.

use std::path::PathBuf;

use clap::Args;

use crate::launch::lifecycle::containers;
use crate::launch::place::Place;
use crate::launch::{Error, say};
use crate::model::failure::chain;
use crate::store::containers::Record;

// Which containers.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// All that the command makes sense for
    #[arg(short, long, conflicts_with_all = ["cidfile", "containers"])]
    pub(crate) all: bool,
    /// The container that was made last
    #[arg(short, long, conflicts_with_all = ["all", "cidfile", "containers"])]
    pub(crate) latest: bool,
    /// Files with IDs of containers
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Vec<PathBuf>,
    /// Names, or IDs, or the beginnings of such
    #[arg(required_unless_present_any = ["all", "cidfile", "latest"])]
    pub(crate) containers: Vec<String>,
}

/// A container, by the word it was named with.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) word: String,
    pub(crate) record: Record,
}

/// What was found, and what was not.
pub(crate) type Found = Vec<Result<Selected, Error>>;

impl Selection {
    /// The containers; with `all` those for which `sensible` holds. With `ignore`, what is not there
    /// is left out.
    ///
    /// # Errors
    /// Where the records cannot be listed, or an ID cannot be read from a file.
    pub(crate) fn find(
        &self,
        place: &Place,
        ignore: bool,
        sensible: impl Fn(&Record) -> bool,
    ) -> Result<Found, Error> {
        if self.all {
            return all(place, sensible);
        }
        if self.latest {
            let latest = place.records().all()?.records.into_iter().max_by_key(|it| it.created);
            let record = latest.ok_or_else(|| Error::NoSuchContainer("--latest".to_owned()))?;
            return Ok(vec![Ok(Selected { word: record.id.to_string(), record })]);
        }
        let mut words = self.containers.clone();
        for path in &self.cidfile {
            match std::fs::read_to_string(path) {
                Ok(text) => words.push(text.trim().to_owned()),
                Err(error) if ignore && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::file("read", path, source)),
            }
        }
        named(place, &words, ignore)
    }
}

/// Those for which `sensible` holds.
pub(crate) fn all(place: &Place, sensible: impl Fn(&Record) -> bool) -> Result<Found, Error> {
    let records = place.records().all()?.records.into_iter().filter(sensible);
    Ok(records.map(|record| Ok(Selected { word: record.id.to_string(), record })).collect())
}

/// Those of these names. With `ignore`, what is not there is left out.
pub(crate) fn named(place: &Place, words: &[String], ignore: bool) -> Result<Found, Error> {
    let mut found = Vec::new();
    for word in words {
        match containers::find(place, word) {
            Ok(record) => found.push(Ok(Selected { word: word.clone(), record })),
            Err(Error::NoSuchContainer(_)) if ignore => {}
            Err(error) => found.push(Err(error)),
        }
    }
    Ok(found)
}

/// Does `work` for each, and prints the word that named it. An error is said, and keeps nobody else
/// from being done; the status of the last one is the command's.
pub(crate) fn each(
    found: Found,
    mut work: impl FnMut(&Selected) -> Result<(), Error>,
) -> Result<u8, Error> {
    let mut failed: Option<Error> = None;
    for selected in found {
        let done = selected.and_then(|selected| {
            work(&selected)?;
            say(&selected.word)
        });
        if let Err(error) = done
            && let Some(earlier) = failed.replace(error)
        {
            eprintln!("Error: {}", chain(&earlier));
        }
    }
    failed.map_or(Ok(0), Err)
}
