//! Times as people write them: how long ago, a day, a time of day.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A time in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    Ago(Duration),
    At(Timestamp),
    /// By the clock on the wall.
    Local(DateTime),
    /// The beginning of the day, so many days ago.
    Day(i64),
}

impl Since {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text {
            "today" => return Ok(Self::Day(0)),
            "yesterday" => return Ok(Self::Day(1)),
            _ => {}
        }
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        Self::point(text).ok_or_else(|| {
            "neither a time such as \"2026-11-26 08:00\", nor how long ago, such as \"7d\""
                .to_owned()
        })
    }

    /// A point in time, also one to come.
    pub(super) fn point(text: &str) -> Option<Self> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(Self::At(time));
        }
        let local = text.parse::<DateTime>();
        let local = local.or_else(|_| text.parse::<Date>().map(|day| day.at(0, 0, 0, 0)));
        local.ok().map(Self::Local)
    }

    /// The time that is meant at `now`, in the zone of who says it; `None` where there is none so
    /// long ago, or no such time in the zone.
    pub fn resolve(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Ago(ago) => now.checked_sub(ago).ok(),
            Self::At(time) => Some(time),
            Self::Local(time) => zone.to_timestamp(time).ok(),
            Self::Day(ago) => {
                let day = now.to_zoned(zone.clone()).date();
                let day = day.checked_sub(Span::new().try_days(ago).ok()?).ok()?;
                zone.to_timestamp(day.at(0, 0, 0, 0)).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-26T20:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(Offset::constant(2));
        for (text, time) in [
            ("90s", "2026-11-26T19:58:30Z"),
            ("7d", "2026-11-19T20:00:00Z"),
            ("2h 30m", "2026-11-26T17:30:00Z"),
            ("2026-11-26T08:00:00+01:00", "2026-11-26T07:00:00Z"),
            ("2026-11-26", "2026-11-25T22:00:00Z"),
            ("2026-11-26 08:30", "2026-11-26T06:30:00Z"),
            ("2026-11-26T08:30:15", "2026-11-26T06:30:15Z"),
            ("today", "2026-11-25T22:00:00Z"),
            ("yesterday", "2026-11-24T22:00:00Z"),
        ] {
            let read = Since::parse(text).unwrap().resolve(now, &zone);
            assert_eq!(read, Some(time.parse().unwrap()), "{text}");
        }
        for text in ["", "soon", "7", "-3d", "2026-13-01"] {
            assert!(Since::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\PC|[0-9:-]){0,24}", now in -1_000_000_000i64..4_000_000_000) {
            let now = Timestamp::from_second(now).unwrap();
            if let Ok(since) = Since::parse(&text) {
                since.resolve(now, &TimeZone::UTC);
            }
        }
    }
}
