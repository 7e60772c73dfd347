//! How a calendar event is written.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Calendar;
use super::field::{Component, Field, SECOND};
use super::search::LAST_YEAR;
use super::weekdays::{NAMES, Weekdays};

/// The longest that is read, in bytes.
const MAX: usize = 1024;
/// So many alternatives one field has at most, as systemd's.
const MOST: usize = 240;
const FIRST_YEAR: u32 = 1970;

/// Why a text is no calendar event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a calendar event as in systemd.time(7), such as \"Sat,Sun 02:00\" or \
     \"*-*-01 04:00 Europe/Berlin\": {why}"
)]
pub struct InvalidCalendar {
    text: String,
    why: &'static str,
}

/// What is wrong, where it is.
type Parsed<T> = Result<T, &'static str>;

const NUMBER: &str = "a number is expected";
const RANGE: &str = "a number is out of its range, or a step leads nowhere";

impl FromStr for Calendar {
    type Err = InvalidCalendar;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why| InvalidCalendar { text: text.chars().take(100).collect(), why };
        parse(text).map_err(invalid)
    }
}

fn parse(text: &str) -> Parsed<Calendar> {
    if text.len() > MAX {
        return Err("it is too long");
    }
    let (times, zone) = split_zone(text);
    let mut calendar = match shorthand(times) {
        Some(calendar) => calendar,
        None => events(times)?,
    };
    calendar.weekdays.normalize();
    calendar.from_end &= !calendar.day.is_any();
    calendar.zone = calendar.zone.or(zone);
    let Calendar { year, month, day, from_end, hour, minute, second, .. } = &calendar;
    let within = year.is_within(FIRST_YEAR, LAST_YEAR.unsigned_abs().into(), false)
        && month.is_within(1, 12, false)
        && day.is_within(1, 31, *from_end)
        && hour.is_within(0, 23, false)
        && minute.is_within(0, 59, false)
        && second.is_within(0, 60 * SECOND - 1, false);
    if within { Ok(calendar) } else { Err(RANGE) }
}

/// The zone is the last word, where that looks like one: no other last word begins with a letter, but
/// where it is the only one.
fn split_zone(text: &str) -> (&str, Option<String>) {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
    match text.rsplit_once(' ') {
        Some((times, utc)) if utc.eq_ignore_ascii_case("UTC") => (times, Some("UTC".to_owned())),
        Some((times, zone))
            if zone.starts_with(|c: char| c.is_ascii_alphabetic()) && zone.chars().all(legal) =>
        {
            (times, Some(zone.to_owned()))
        }
        _ => (text, None),
    }
}

fn shorthand(text: &str) -> Option<Calendar> {
    let zero = || Field::one(0);
    let second = Calendar {
        weekdays: Weekdays::default(),
        year: Field::default(),
        month: Field::default(),
        day: Field::default(),
        from_end: false,
        hour: Field::default(),
        minute: Field::default(),
        second: zero(),
        zone: None,
    };
    let hourly = || Calendar { minute: zero(), ..second.clone() };
    let daily = || Calendar { hour: zero(), ..hourly() };
    let monthly = || Calendar { day: Field::one(1), ..daily() };
    let in_months = |months: &[u32]| {
        let months = months.iter().copied().map(Component::one).collect();
        Calendar { month: Field::new(months), ..monthly() }
    };
    Some(match text.to_ascii_lowercase().as_str() {
        "minutely" => second,
        "hourly" => hourly(),
        "daily" => daily(),
        "weekly" => {
            let mut weekdays = Weekdays::default();
            weekdays.add(0, 0);
            Calendar { weekdays, ..daily() }
        }
        "monthly" => monthly(),
        "quarterly" => in_months(&[1, 4, 7, 10]),
        "semiannually" | "semi-annually" | "biannually" | "bi-annually" => in_months(&[1, 7]),
        "annually" | "yearly" | "anually" => in_months(&[1]),
        _ => return None,
    })
}

fn events(text: &str) -> Parsed<Calendar> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let mut rest = Text(text);
    let weekdays = rest.weekdays()?;
    if let Some(seconds) = rest.0.strip_prefix('@') {
        return at(weekdays, seconds);
    }
    let Day { year, month, day, from_end } = rest.date()?.unwrap_or_default();
    let (hour, minute, second) = rest.time()?;
    Ok(Calendar { weekdays, year, month, day, from_end, hour, minute, second, zone: None })
}

/// The one time that is so many seconds after the epoch.
fn at(weekdays: Weekdays, seconds: &str) -> Parsed<Calendar> {
    let mut rest = Text(seconds);
    let seconds = rest.number()?;
    if !rest.0.is_empty() {
        return Err("nothing follows a time in seconds since the epoch");
    }
    let time = Timestamp::from_second(seconds.into()).map_err(|_| RANGE)?;
    let time = TimeZone::UTC.to_datetime(time);
    let one = |value: i8| Field::one(value.unsigned_abs().into());
    Ok(Calendar {
        weekdays,
        year: Field::one(time.year().unsigned_abs().into()),
        month: one(time.month()),
        day: one(time.day()),
        from_end: false,
        hour: one(time.hour()),
        minute: one(time.minute()),
        second: Field::one(u32::from(time.second().unsigned_abs()) * SECOND),
        zone: Some("UTC".to_owned()),
    })
}

/// A date; any, as it is where none is written.
#[derive(Default)]
struct Day {
    year: Field,
    month: Field,
    day: Field,
    from_end: bool,
}

/// What is still to be read.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl Text<'_> {
    fn take(&mut self, word: &str) -> bool {
        let rest = self.0.strip_prefix(word);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    /// At the end of a part: of all, or before a space.
    fn is_at_end(&self) -> bool {
        self.0.is_empty() || self.0.starts_with(' ')
    }

    fn weekdays(&mut self) -> Parsed<Weekdays> {
        let mut found = Weekdays::default();
        let mut open = None;
        let mut first = true;
        while let Some(day) = self.weekday()? {
            let from = open.take().unwrap_or(day);
            if from > day {
                return Err("a range of weekdays ends before it begins");
            }
            found.add(from, day);
            let ranged = from != day;
            if self.is_at_end() {
                self.skip_spaces();
                return Ok(found);
            }
            if self.take("..") || self.take("-") {
                if ranged {
                    return Err("a range of weekdays has two ends");
                }
                open = Some(day);
            } else if !self.take(",") {
                return Err("weekdays are separated by \",\" and \"..\"");
            }
            first = false;
            if self.is_at_end() {
                self.skip_spaces();
                return match open {
                    None => Ok(found),
                    Some(_) => Err("a range of weekdays has no end"),
                };
            }
        }
        if first { Ok(found) } else { Err("a weekday is expected") }
    }

    /// `None` where there is none.
    fn weekday(&mut self) -> Parsed<Option<usize>> {
        for (number, (long, short)) in NAMES.iter().enumerate() {
            for name in [long, short] {
                let Some((word, rest)) = self.0.split_at_checked(name.len()) else { continue };
                if word.eq_ignore_ascii_case(name) {
                    if !rest.is_empty() && !rest.starts_with(['-', '.', ',', ' ']) {
                        return Err("that is no weekday");
                    }
                    self.0 = rest;
                    return Ok(Some(number));
                }
            }
        }
        Ok(None)
    }

    /// `None` where a time of day comes instead.
    fn date(&mut self) -> Parsed<Option<Day>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut ahead = *self;
        let first = ahead.field(1)?;
        if ahead.0.is_empty() || ahead.0.starts_with(':') {
            return Ok(None);
        }
        let mut from_end = ahead.separator()?;
        let second = ahead.field(1)?;
        let mut date = vec![first, second];
        if !ahead.is_at_end() {
            if from_end {
                return Err("\"~\" stands before the day");
            }
            from_end = ahead.separator()?;
            date.push(ahead.field(1)?);
            if !ahead.is_at_end() {
                return Err("a date is YEAR-MONTH-DAY or MONTH-DAY");
            }
        }
        ahead.skip_spaces();
        *self = ahead;
        let (day, month) = (date.pop().unwrap_or_default(), date.pop().unwrap_or_default());
        let year = date.pop().unwrap_or_default().with_centuries();
        Ok(Some(Day { year, month, day, from_end }))
    }

    /// Whether days are counted from the end of the month.
    fn separator(&mut self) -> Parsed<bool> {
        if self.take("~") {
            Ok(true)
        } else if self.take("-") {
            Ok(false)
        } else {
            Err("a date is YEAR-MONTH-DAY or MONTH-DAY")
        }
    }

    fn time(&mut self) -> Parsed<(Field, Field, Field)> {
        const FORM: &str = "a time of day is HOUR:MINUTE or HOUR:MINUTE:SECOND";
        if self.0.is_empty() {
            return Ok((Field::one(0), Field::one(0), Field::one(0)));
        }
        let hour = self.field(1)?;
        if !self.take(":") {
            return Err(FORM);
        }
        let minute = self.field(1)?;
        if self.0.is_empty() {
            return Ok((hour, minute, Field::one(0)));
        }
        if !self.take(":") {
            return Err(FORM);
        }
        let second = match self.take("*") {
            true => Field::any_second(),
            false => self.field(SECOND)?.or_any_second(),
        };
        if self.0.is_empty() { Ok((hour, minute, second)) } else { Err(FORM) }
    }

    /// In units of which `scale` are one of what is written.
    fn field(&mut self, scale: u32) -> Parsed<Field> {
        if self.take("*") {
            return Ok(Field::default());
        }
        let mut components = Vec::new();
        loop {
            components.push(self.component(scale)?);
            if components.len() > MOST {
                return Err("there are too many alternatives");
            }
            if !self.take(",") {
                return Ok(Field::new(components));
            }
        }
    }

    fn component(&mut self, scale: u32) -> Parsed<Component> {
        let start = self.value(scale)?;
        let stop = if self.take("..") { Some(self.value(scale)?) } else { None };
        let step = match self.take("/") {
            true => match self.value(scale)? {
                0 => return Err("a step is at least 1"),
                step => step,
            },
            // Of seconds, such a range is of whole ones, and has two at least.
            false
                if scale == SECOND
                    && stop.is_some_and(|stop| start.saturating_add(scale) > stop) =>
            {
                return Err(RANGE);
            }
            false => stop.map_or(0, |_| scale),
        };
        let ends = self.is_at_end() || self.0.starts_with([',', '-', '~', ':']);
        if ends { Ok(Component { start, stop, step }) } else { Err(NUMBER) }
    }

    fn value(&mut self, scale: u32) -> Parsed<u32> {
        let whole = self.number()?.checked_mul(scale).ok_or(RANGE)?;
        if scale == 1 || !self.0.starts_with('.') || self.0.starts_with("..") {
            return Ok(whole);
        }
        self.0 = &self.0[1..];
        whole.checked_add(self.microseconds()?).ok_or(RANGE)
    }

    fn number(&mut self) -> Parsed<u32> {
        let digits = self.digits()?;
        digits.parse().ok().filter(|number| *number <= i32::MAX.unsigned_abs()).ok_or(RANGE)
    }

    fn digits(&mut self) -> Parsed<&'_ str> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        if digits.is_empty() { Err(NUMBER) } else { Ok(digits) }
    }

    /// What stands behind a decimal point, rounded.
    fn microseconds(&mut self) -> Parsed<u32> {
        let digits = self.digits()?.bytes().map(|digit| u32::from(digit - b'0'));
        let mut digits = digits.chain(std::iter::repeat(0));
        let whole = digits.by_ref().take(6).fold(0, |value, digit| value * 10 + digit);
        Ok(whole + u32::from(digits.next().is_some_and(|next| next >= 5)))
    }
}
