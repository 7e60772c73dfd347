//! Times as Podman's flags have them: `30s`, `1m30s`, `1.5h`, `500ms` (Go's `time.ParseDuration`).
//! Pure.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];

/// A value parser for clap.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    read(text).ok_or_else(|| "not a time such as 30s, 1m30s or 500ms".to_owned())
}

/// `None` for what is no time, is negative, or too long.
fn read(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, behind) = rest.split_at(end);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, each) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(times(number, *each)?)?;
        rest = behind;
    }
    // As long as Go's: a number with a sign.
    (!text.is_empty() && i64::try_from(nanos).is_ok()).then(|| Duration::from_nanos(nanos))
}

/// A number, which may have a fraction, of so many nanoseconds each.
fn times(number: &str, each: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_number(fraction) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    // More digits are less than a nanosecond of an hour.
    let fraction = fraction.get(..fraction.len().min(15))?;
    let mut part: u128 = 0;
    if !fraction.is_empty() {
        let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
        part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(each) / scale;
    }
    whole.checked_mul(each)?.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_those_of_go() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            (".5s", 500),
            ("1h1m1s1ms", 3_661_001),
            ("0", 0),
            ("0s", 0),
            ("1.s", 1000),
        ] {
            assert_eq!(read(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(read("1us1µs1ns"), Some(Duration::from_nanos(2001)));
        for text in ["", "5", "s", ".s", "-1s", "1 s", "1d", "1s2", "1.2.3s", "1S", "9999999999h"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).{0,30}", number in "[0-9.]{0,40}(ns|us|ms|s|m|h)") {
            let _ = parse(&text);
            let _ = parse(&number);
        }

        #[test]
        fn seconds_are_read_as_written(seconds in 0u64..1_000_000, millis in 0u64..1000) {
            let text = format!("{seconds}s{millis}ms");
            prop_assert_eq!(read(&text), Some(Duration::from_millis(seconds * 1000 + millis)));
        }
    }
}
