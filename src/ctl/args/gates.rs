//! The flags of `hold`, `unhold` and `approve`.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::Until;
use crate::model::UnitName;

/// What `hold --help` begins with.
pub(super) const HOLD: &str = "\
Leave units as they are until then, or until \"unhold\"

No pass restarts a unit that is held, nor does \"updaterctl update\" that names it; new images are pulled \
meanwhile. An update that has begun with the unit comes to its end. \"updaterctl rollback\" goes back with a \
unit that is held. Where an engine has only a tag, as Podman has, the other units on it wait as well.";

pub(super) const HOLD_EXAMPLES: &str = "\
Examples:
  updaterctl hold shop --until 2w --reason \"the fair\"
  updaterctl hold shop --until \"2026-12-27 08:00\"
  updaterctl why shop                 who waits for what, and until when
  updaterctl unhold shop";

/// What `approve --help` begins with.
pub(super) const APPROVE: &str = "\
Let units have the images that wait for an approval (mode = \"approve\")

An approval is for the image that the unit waits for now, as the last check found it: the next one needs \
another. The unit gets the image with the next check when nothing else keeps it from it.";

pub(super) const APPROVE_EXAMPLES: &str = "\
Examples:
  updaterctl approve shop
  updaterctl approve shop --digest 4bcff63911fc   that image, and no later one
  updaterctl approve --all";

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Hold {
    /// The units to be left as they are
    #[arg(value_name = "UNIT", value_parser = UnitName::from_argument, required = true)]
    pub units: Vec<UnitName>,
    /// "2w" or "3h 30m" from now, or at "2026-12-24", "2026-12-24 08:00", "tomorrow", or a time of RFC 3339;
    /// without it, until "unhold"
    #[arg(long, value_name = "TIME", value_parser = Until::parse)]
    pub until: Option<Until>,
    /// Why, for whoever asks
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
pub struct Unhold {
    /// The units to be updated again
    #[arg(value_name = "UNIT", value_parser = UnitName::from_argument)]
    pub units: Vec<UnitName>,
    /// Every unit that is held
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Approve {
    /// The units that get what they wait for
    #[arg(value_name = "UNIT", value_parser = UnitName::from_argument, required_unless_present = "all")]
    pub units: Vec<UnitName>,
    /// Every unit that waits for an approval
    #[arg(long, conflicts_with_all = ["units", "digest"])]
    pub all: bool,
    /// Only this image: its digest, or the first twelve digits of it or more
    #[arg(long, value_name = "DIGEST", value_parser = NonEmptyStringValueParser::new())]
    pub digest: Option<String>,
}
