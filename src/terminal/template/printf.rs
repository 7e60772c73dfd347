//! `printf`: Go's verbs for texts, numbers and truth values.

use serde_json::Value;

use super::evaluate::shown;
use super::function::{MAX_WIDTH, integer};

/// What stands between `%` and its verb.
#[derive(Default)]
struct Flags {
    left: bool,
    zeros: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

/// `None` where a verb is not known, does not fit its value, or has none; and where values are left.
pub(super) fn printf(format: &str, values: &[Value]) -> Option<String> {
    let mut printed = String::new();
    let mut letters = format.chars().peekable();
    let mut values = values.iter();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            printed.push(letter);
            continue;
        }
        let mut flags = Flags::default();
        while let Some(flag) = letters.next_if(|letter| "-0+".contains(*letter)) {
            match flag {
                '-' => flags.left = true,
                '+' => flags.plus = true,
                _ => flags.zeros = true,
            }
        }
        flags.width = number(&mut letters)?.unwrap_or(0);
        if letters.next_if_eq(&'.').is_some() {
            flags.precision = Some(number(&mut letters)?.unwrap_or(0));
        }
        match letters.next()? {
            '%' => printed.push('%'),
            verb => printed.push_str(&flags.pad(&flags.show(verb, values.next()?)?)),
        }
    }
    values.next().is_none().then_some(printed)
}

/// `Some(None)` where there is no number, `None` where it is too great.
#[allow(clippy::option_option, reason = "no number, and one that is refused, are not the same")]
fn number(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Option<usize>> {
    let mut number = None;
    while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
        letters.next();
        let next = number.unwrap_or(0) * 10 + usize::try_from(digit).ok()?;
        if next > MAX_WIDTH {
            return None;
        }
        number = Some(next);
    }
    Some(number)
}

impl Flags {
    fn show(&self, verb: char, value: &Value) -> Option<String> {
        let cut = |text: String| match self.precision {
            Some(length) => text.chars().take(length).collect(),
            None => text,
        };
        match (verb, value) {
            ('v', value) => Some(shown(value)),
            ('s', value) => Some(cut(shown(value))),
            ('q', value) => Some(format!("{:?}", cut(shown(value)))),
            ('t', Value::Bool(holds)) => Some(holds.to_string()),
            ('d', Value::Number(number)) => {
                let number = integer(number)?;
                Some(if self.plus { format!("{number:+}") } else { number.to_string() })
            }
            ('x', Value::Number(number)) => Some(format!("{:x}", integer(number)?)),
            ('X', Value::Number(number)) => Some(format!("{:X}", integer(number)?)),
            ('o', Value::Number(number)) => Some(format!("{:o}", integer(number)?)),
            ('x', Value::String(text)) => {
                Some(text.bytes().map(|byte| format!("{byte:02x}")).collect())
            }
            ('c', Value::Number(number)) => {
                u32::try_from(integer(number)?).ok().and_then(char::from_u32).map(String::from)
            }
            ('f' | 'g', Value::Number(number)) => {
                let number = number.as_f64()?;
                Some(match (verb, self.precision) {
                    ('g', None) => number.to_string(),
                    (_, precision) => format!("{number:.*}", precision.unwrap_or(6)),
                })
            }
            _ => None,
        }
    }

    fn pad(&self, text: &str) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            format!("{text}{}", " ".repeat(missing))
        } else if self.zeros {
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => text.split_at(text.len() - digits.len()),
                None => ("", text),
            };
            format!("{sign}{}{digits}", "0".repeat(missing))
        } else {
            format!("{}{text}", " ".repeat(missing))
        }
    }
}
