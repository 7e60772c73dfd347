//! Maintenance windows: a calendar event at which one opens, and how long it stays open.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Calendar;
use super::calendar::InvalidCalendar;

/// A time that comes again and again, written `Sat,Sun 02:00 Europe/Berlin for 4h`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// When it opens.
    pub calendar: Calendar,
    /// How long it stays open, as it passes: a night in which clocks are set has no longer and no
    /// shorter windows.
    pub length: Duration,
}

/// Why a text is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    #[error(
        "{0:?} is not a window, such as \"Sat,Sun 02:00 Europe/Berlin for 4h\": \" for \" and how long \
         it stays open are missing"
    )]
    NoLength(String),
    #[error("{0:?} is not how long a window stays open, such as \"4h\": from \"1s\" to \"366d\"")]
    Length(String),
    #[error(transparent)]
    Calendar(#[from] InvalidCalendar),
}

impl Window {
    /// The longest that one stays open.
    const MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// When it opens next, by a clock in `zone`, or opened before `now`, where it is open still; `None`
    /// where it never opens again.
    pub fn opens(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let closed = now.checked_sub(self.length).ok()?;
        self.calendar.next(closed, zone)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.calendar, humantime::format_duration(self.length))
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let excerpt = |text: &str| text.chars().take(100).collect();
        let (calendar, length) =
            text.rsplit_once(" for ").ok_or_else(|| InvalidWindow::NoLength(excerpt(text)))?;
        let valid = Duration::from_secs(1)..=Self::MAX;
        let length = humantime::parse_duration(length)
            .ok()
            .filter(|length| valid.contains(length))
            .ok_or_else(|| InvalidWindow::Length(excerpt(length)))?;
        Ok(Self { calendar: calendar.parse()?, length })
    }
}

impl TryFrom<String> for Window {
    type Error = InvalidWindow;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_calendar_event_and_a_length() {
        let window: Window = "sat 2:00 Europe/Berlin for 4h 30m".parse().unwrap();
        assert_eq!(window.to_string(), "Sat *-*-* 02:00:00 Europe/Berlin for 4h 30m");
        assert_eq!(serde_json::to_value(&window).unwrap(), window.to_string());
        for (bad, why) in [
            ("daily", "missing"),
            ("for 4h", "missing"),
            ("daily for ever", "how long"),
            ("daily for 10ms", "how long"),
            ("daily for 2years", "how long"),
            ("dayly for 1h", "calendar event"),
        ] {
            let error = bad.parse::<Window>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn it_is_open_for_its_length_also_where_clocks_are_set() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let window: Window = "Sun 01:00 for 3h".parse().unwrap();
        let opens = |now: &str| {
            let opens = window.opens(now.parse().unwrap(), &berlin);
            opens.map(|opens| opens.to_string()).unwrap_or_default()
        };
        // From 01:00 to 05:00, and from 01:00 to 03:00 for the second time, on the wall.
        for (opened, last) in [
            ("2026-03-29T00:00:00Z", "2026-03-29T02:59:59Z"),
            ("2026-10-24T23:00:00Z", "2026-10-25T01:59:59Z"),
        ] {
            assert_eq!((opens(opened), opens(last)), (opened.into(), opened.into()));
        }
        assert_eq!(opens("2026-10-25T02:00:00Z"), "2026-11-01T00:00:00Z");
        let past: Window = "2020-01-01 for 1h".parse().unwrap();
        assert_eq!(past.opens("2026-01-01T00:00:00Z".parse().unwrap(), &berlin), None);
    }
}
