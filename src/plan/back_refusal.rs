//! Why a unit cannot go back, and what it could go back to.

use std::fmt;

use crate::model::failure::excerpt;
use crate::model::{Digest, Reference, UnitName};

/// Images in storage that a unit could be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock(pub Vec<(Reference, Digest)>);

impl fmt::Display for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no other image of it is in storage");
        }
        f.write_str("in storage, for --to, is ")?;
        for (number, (reference, image)) in self.0.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{} of {reference}", image.short())?;
        }
        Ok(())
    }
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "unit {unit} runs no container with the label io.containers.autoupdate, and no update of it \
         is recorded"
    )]
    UnknownUnit { unit: UnitName },
    #[error("no update is recorded that brought {unit} what it runs; {stock}")]
    NoUpdate { unit: UnitName, stock: Stock },
    #[error("{unit} was rolled back already, and not updated since; {stock}")]
    RevertedAlready { unit: UnitName, stock: Stock },
    #[error("{unit} runs image {} already; {stock}", image.short())]
    RunsAlready { unit: UnitName, image: Digest, stock: Stock },
    #[error(
        "image {}, which {unit} ran before its last update, is not in storage any more; {stock}",
        image.short()
    )]
    Gone { unit: UnitName, image: Digest, stock: Stock },
    #[error("no image that {unit} had is in storage with the digest {:?}; {stock}", excerpt(to))]
    NoSuchImage { unit: UnitName, to: String, stock: Stock },
    #[error("several images that {unit} had begin with {:?}: {}", excerpt(to), shorts(images))]
    Ambiguous { unit: UnitName, to: String, images: Vec<Digest> },
    #[error(
        "{reference} is one tag, and can stand for one image only, not for {}: name it with --to",
        shorts(images)
    )]
    OneTag { reference: String, images: Vec<Digest> },
}

fn shorts(images: &[Digest]) -> String {
    images.iter().map(Digest::short).collect::<Vec<_>>().join(", ")
}
