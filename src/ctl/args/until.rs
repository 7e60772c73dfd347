//! Times to come, as people write them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Since;

/// A time in the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// So long from now.
    In(Duration),
    /// The beginning of the next day.
    Tomorrow,
    At(Since),
}

impl Until {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "tomorrow" {
            return Ok(Self::Tomorrow);
        }
        if let Ok(time) = humantime::parse_duration(text) {
            return Ok(Self::In(time));
        }
        Since::point(text).map(Self::At).ok_or_else(|| {
            "neither a time such as \"2026-12-24 08:00\", nor how long from now, such as \"2w\""
                .to_owned()
        })
    }

    /// The time that is meant at `now`, in the zone of who says it; `None` where there is no such time.
    pub fn resolve(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::In(time) => now.checked_add(time).ok(),
            Self::Tomorrow => Since::Day(-1).resolve(now, zone),
            Self::At(time) => time.resolve(now, zone),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    #[test]
    fn times_to_come_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-26T20:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(Offset::constant(2));
        let until = |text: &str| {
            let time = Until::parse(text).unwrap().resolve(now, &zone);
            time.map(|time| time.to_string()).unwrap_or_default()
        };
        assert_eq!(until("2w"), "2026-12-10T20:00:00Z");
        assert_eq!(until("tomorrow"), "2026-11-26T22:00:00Z");
        assert_eq!(until("2026-12-24"), "2026-12-23T22:00:00Z");
        assert_eq!(until("2026-12-24 08:00"), "2026-12-24T06:00:00Z");
        assert_eq!(until("2026-12-24T08:00:00+01:00"), "2026-12-24T07:00:00Z");
        assert_eq!(until("400000y"), "");
        assert!(Until::parse("soon").unwrap_err().contains("how long from now"));
    }
}
