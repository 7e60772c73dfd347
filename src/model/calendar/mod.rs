//! Calendar events as systemd writes them (systemd.time(7), "CALENDAR EVENTS"): `Sat,Sun 02:00`,
//! `*-*~01 03:30 Europe/Berlin`, `quarterly`.
//!
//! What must not live here: which zone is meant where none is named, and the rules of zones: both
//! are files of the host.

mod field;
mod parse;
mod search;
mod weekdays;

use std::fmt;

use self::field::Field;
pub use self::parse::InvalidCalendar;
use self::weekdays::Weekdays;

/// Times on the clock on the wall, and the zone of that clock. Written, as `systemd-analyze calendar`
/// does, in one normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    weekdays: Weekdays,
    year: Field,
    month: Field,
    day: Field,
    /// Whether days are counted from the end of the month, the last of which is 1.
    from_end: bool,
    hour: Field,
    minute: Field,
    /// In microseconds.
    second: Field,
    zone: Option<String>,
}

impl Calendar {
    /// The name of the zone that its times are in, `UTC` or one of the IANA database; `None` for the
    /// host's. Whether the host knows it is not looked at here.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.weekdays)?;
        self.year.write(f, 4)?;
        f.write_str("-")?;
        self.month.write(f, 2)?;
        f.write_str(if self.from_end { "~" } else { "-" })?;
        self.day.write(f, 2)?;
        f.write_str(" ")?;
        self.hour.write(f, 2)?;
        f.write_str(":")?;
        self.minute.write(f, 2)?;
        f.write_str(":")?;
        self.second.write_seconds(f)?;
        self.zone.iter().try_for_each(|zone| write!(f, " {zone}"))
    }
}

#[cfg(test)]
mod tests;
