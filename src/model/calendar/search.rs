//! When a calendar event comes next.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};

use super::Calendar;
use super::field::SECOND;

/// systemd looks no further.
pub(super) const LAST_YEAR: i16 = 2199;

impl Calendar {
    /// The first time after `after` that it stands for, by a clock in `zone`; `None` where there is
    /// none before the year 2200. A time that clocks skip is none. One that they show twice, as they
    /// are set back, is the first of both: what stands for every hour skips the second of these.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = one_on(to_microseconds(zone.to_datetime(after))?)?;
        loop {
            let found = self.next_on_the_wall(from)?;
            let skipped_to = match zone.to_ambiguous_timestamp(found).offset() {
                AmbiguousOffset::Unambiguous { offset } => return offset.to_timestamp(found).ok(),
                AmbiguousOffset::Fold { before, .. } => {
                    let first = before.to_timestamp(found).ok()?;
                    if first > after {
                        return Some(first);
                    }
                    let set_back = zone.following(first).next()?.timestamp();
                    before.to_datetime(set_back)
                }
                AmbiguousOffset::Gap { before, after } => {
                    let behind = one_after(before.to_timestamp(found).ok()?)?;
                    let set_forward = zone.preceding(behind).next()?.timestamp();
                    after.to_datetime(set_forward)
                }
            };
            from = skipped_to.max(one_on(found)?);
        }
    }

    fn next_on_the_wall(&self, from: DateTime) -> Option<DateTime> {
        let mut date = self.next_date(from.date())?;
        if date == from.date() {
            if let Some(time) = self.next_time(from.time()) {
                return Some(date.to_datetime(time));
            }
            date = self.next_date(date.tomorrow().ok()?)?;
        }
        Some(date.to_datetime(self.next_time(Time::midnight())?))
    }

    fn next_date(&self, from: Date) -> Option<Date> {
        let mut date = from;
        loop {
            let year = i16::try_from(self.year.next(date.year().unsigned_abs().into())?).ok()?;
            if year > LAST_YEAR {
                return None;
            }
            if year != date.year() {
                date = Date::new(year, 1, 1).ok()?;
            }
            let month = self.month.next(date.month().unsigned_abs().into());
            let Some(month) = month.and_then(|month| i8::try_from(month).ok()).filter(|m| *m <= 12)
            else {
                date = Date::new(year + 1, 1, 1).ok()?;
                continue;
            };
            if month != date.month() {
                date = Date::new(year, month, 1).ok()?;
            }
            let Some(day) = self.next_day(date) else {
                date = date.last_of_month().tomorrow().ok()?;
                continue;
            };
            date = Date::new(year, month, day).ok()?;
            if self.weekdays.has(date.weekday()) {
                return Some(date);
            }
            date = date.tomorrow().ok()?;
        }
    }

    /// Within the month.
    fn next_day(&self, date: Date) -> Option<i8> {
        let (from, days) = (date.day().unsigned_abs().into(), date.days_in_month());
        let day = match self.from_end {
            true => self.day.next_counted_back(from, days.unsigned_abs().into()),
            false => self.day.next(from),
        };
        i8::try_from(day?).ok().filter(|day| *day <= days)
    }

    /// Within the day.
    fn next_time(&self, from: Time) -> Option<Time> {
        let mut hour = u32::from(from.hour().unsigned_abs());
        let mut minute = u32::from(from.minute().unsigned_abs());
        let mut second = u32::from(from.second().unsigned_abs()) * SECOND
            + from.subsec_nanosecond().unsigned_abs() / 1000;
        loop {
            let next = self.hour.next(hour).filter(|hour| *hour < 24)?;
            if next != hour {
                (hour, minute, second) = (next, 0, 0);
            }
            let Some(next) = self.minute.next(minute).filter(|minute| *minute < 60) else {
                (hour, minute, second) = (hour + 1, 0, 0);
                continue;
            };
            if next != minute {
                (minute, second) = (next, 0);
            }
            match self.second.next(second).filter(|second| *second < 60 * SECOND) {
                Some(second) => return time(hour, minute, second),
                None => (minute, second) = (minute + 1, 0),
            }
        }
    }
}

fn time(hour: u32, minute: u32, second: u32) -> Option<Time> {
    let small = |value: u32| i8::try_from(value).ok();
    let nanosecond = i32::try_from(second % SECOND * 1000).ok()?;
    Time::new(small(hour)?, small(minute)?, small(second / SECOND)?, nanosecond).ok()
}

fn to_microseconds(time: DateTime) -> Option<DateTime> {
    let nanosecond = time.subsec_nanosecond() / 1000 * 1000;
    time.with().subsec_nanosecond(nanosecond).build().ok()
}

/// A microsecond later.
fn one_on(time: DateTime) -> Option<DateTime> {
    time.checked_add(Span::new().microseconds(1)).ok()
}

fn one_after(time: Timestamp) -> Option<Timestamp> {
    time.checked_add(Span::new().microseconds(1)).ok()
}
