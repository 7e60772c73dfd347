//! Days of the week.

use std::fmt;

use jiff::civil::Weekday;

/// As they are written short; the full names begin with them.
pub(super) const NAMES: [(&str, &str); 7] = [
    ("Monday", "Mon"),
    ("Tuesday", "Tue"),
    ("Wednesday", "Wed"),
    ("Thursday", "Thu"),
    ("Friday", "Fri"),
    ("Saturday", "Sat"),
    ("Sunday", "Sun"),
];

/// A set of them, a bit for each, Monday first; none is as good as all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weekdays(u8);

impl Weekdays {
    const ALL: u8 = 0x7f;

    /// From one day to another; `first` is not after `last`.
    pub(super) fn add(&mut self, first: usize, last: usize) {
        (first..=last).for_each(|day| self.0 |= 1 << day);
    }

    pub(super) fn normalize(&mut self) {
        if self.0 == Self::ALL {
            self.0 = 0;
        }
    }

    pub(super) fn has(self, day: Weekday) -> bool {
        self.0 == 0 || self.0 & (1 << day.to_monday_zero_offset()) != 0
    }
}

impl fmt::Display for Weekdays {
    /// With a space behind, where there are any: two in a row with a comma, more as a range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |day: usize| day < NAMES.len() && self.0 & (1 << day) != 0;
        let (mut day, mut comma) = (0, "");
        while day < NAMES.len() {
            if !has(day) {
                day += 1;
                continue;
            }
            let first = day;
            while has(day + 1) {
                day += 1;
            }
            write!(f, "{comma}{}", NAMES[first].1)?;
            match day - first {
                0 => {}
                1 => write!(f, ",{}", NAMES[day].1)?,
                _ => write!(f, "..{}", NAMES[day].1)?,
            }
            (day, comma) = (day + 1, ",");
        }
        if self.0 != 0 { f.write_str(" ") } else { Ok(()) }
    }
}
