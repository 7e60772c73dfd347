//! One field of a calendar event: the values that it may have.

use std::fmt;

/// Microseconds in a second.
pub(super) const SECOND: u32 = 1_000_000;

/// Alternatives; none stands for any value, written `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Field(Vec<Component>);

/// One value, or some that are as far from each other as `step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Component {
    pub(super) start: u32,
    /// The last value; `None` for the end of the field.
    pub(super) stop: Option<u32>,
    /// 0 for `start` alone.
    pub(super) step: u32,
}

impl Component {
    pub(super) fn one(start: u32) -> Self {
        Self { start, stop: None, step: 0 }
    }

    fn next(self, from: u32) -> Option<u32> {
        let behind = from.saturating_sub(self.start);
        if behind == 0 {
            return Some(self.start);
        }
        let steps = behind.checked_next_multiple_of(self.step)?;
        let value = self.start.checked_add(steps)?;
        self.stop.is_none_or(|stop| value <= stop).then_some(value)
    }

    /// A range ends with a value that it has; one of a single value is no range.
    fn normalize(&mut self) {
        let Some(stop) = self.stop.filter(|stop| *stop >= self.start) else { return };
        let rest = (stop - self.start).checked_rem(self.step).unwrap_or(0);
        self.stop = Some(stop - rest);
        if stop - rest == self.start {
            *self = Self::one(self.start);
        }
    }

    /// The days that it stands for in a month of so many, where it counts them from the end.
    fn counted_back(self, days: u32) -> Self {
        let back = |day: u32| (days + 1).saturating_sub(day);
        match self.stop {
            Some(stop) => Self { start: back(stop), stop: Some(back(self.start)), ..self },
            None => Self { start: back(self.start), ..self },
        }
    }

    /// Whether all of it is within the field, and a step leads from its first value to another one.
    fn is_within(self, first: u32, last: u32, from_end: bool) -> bool {
        let Self { start, stop, step } = self;
        // Every month has so many days to be counted back.
        let last = if from_end { last - 3 } else { last };
        let steps = match stop {
            Some(stop) => stop <= last && start.checked_add(step).is_some_and(|next| next <= stop),
            None if from_end => start >= first.saturating_add(step),
            None => start.checked_add(step).is_some_and(|next| next <= last),
        };
        (first..=last).contains(&start) && step <= last - first && steps
    }
}

impl Field {
    /// Sorted, each once.
    pub(super) fn new(mut components: Vec<Component>) -> Self {
        components.iter_mut().for_each(Component::normalize);
        components.sort_unstable();
        components.dedup();
        Self(components)
    }

    pub(super) fn one(value: u32) -> Self {
        Self(vec![Component::one(value)])
    }

    pub(super) fn any_second() -> Self {
        Self(vec![Component { start: 0, stop: None, step: SECOND }])
    }

    /// Of years: those of two digits are between 1970 and 2069.
    pub(super) fn with_centuries(self) -> Self {
        let full = |year: u32| match year {
            0..70 => year + 2000,
            70..100 => year + 1900,
            year => year,
        };
        let full = |Component { start, stop, step }| Component {
            start: full(start),
            stop: stop.map(full),
            step,
        };
        Self::new(self.0.into_iter().map(full).collect())
    }

    /// Of seconds: where one alternative is every second, there is no other.
    pub(super) fn or_any_second(self) -> Self {
        let every = Self::any_second();
        if every.0.iter().all(|every| self.0.contains(every)) { every } else { self }
    }

    pub(super) fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_within(&self, first: u32, last: u32, from_end: bool) -> bool {
        self.0.iter().all(|component| component.is_within(first, last, from_end))
    }

    /// The least value that it may have from `from` on. It may be beyond the end of the field.
    pub(super) fn next(&self, from: u32) -> Option<u32> {
        if self.is_any() {
            return Some(from);
        }
        self.0.iter().filter_map(|component| component.next(from)).min()
    }

    /// The same of the days of a month of so many, counted from its end.
    pub(super) fn next_counted_back(&self, from: u32, days: u32) -> Option<u32> {
        let components = self.0.iter().map(|component| component.counted_back(days));
        components.filter_map(|component| component.next(from)).min()
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        self.write_with(f, 1, |f, value| write!(f, "{value:0width$}"))
    }

    pub(super) fn write_seconds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self == &Self::any_second() {
            return f.write_str("*");
        }
        self.write_with(f, SECOND, |f, value| {
            write!(f, "{:02}", value / SECOND)?;
            fraction(f, value)
        })
    }

    /// The step `plain` of a range is not written.
    fn write_with(
        &self,
        f: &mut fmt::Formatter<'_>,
        plain: u32,
        write: impl Fn(&mut fmt::Formatter<'_>, u32) -> fmt::Result,
    ) -> fmt::Result {
        if self.is_any() {
            return f.write_str("*");
        }
        for (at, Component { start, stop, step }) in self.0.iter().copied().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            write(f, start)?;
            if let Some(stop) = stop {
                f.write_str("..")?;
                write(f, stop)?;
            }
            if step > 0 && (stop.is_none() || step != plain) {
                write!(f, "/{}", step / plain)?;
                if plain == SECOND {
                    fraction(f, step)?;
                }
            }
        }
        Ok(())
    }
}

fn fraction(f: &mut fmt::Formatter<'_>, value: u32) -> fmt::Result {
    match value % SECOND {
        0 => Ok(()),
        rest => write!(f, ".{rest:06}"),
    }
}
