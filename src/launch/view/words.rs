//! Podman's words for times and sizes.

use std::time::Duration;

use jiff::Timestamp;

/// What Podman's documents say where a time is not known.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// A length of time as people say it: `3 minutes`, `About an hour`.
pub(crate) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let minutes = seconds / 60;
    // Rounded, where all others are cut.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1440) => format!("{} weeks", hours / 24 / 7),
        (.., 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// How long ago `time` was; a time to come is no time ago.
pub(crate) fn since(time: Timestamp, now: Timestamp) -> String {
    duration(Duration::try_from(now.duration_since(time)).unwrap_or_default())
}

/// `3 minutes ago`
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    format!("{} ago", since(time, now))
}

/// Bytes in units of a thousand, three digits: `12.3MB`.
pub(crate) fn size(bytes: u64) -> String {
    let (number, unit) = scaled(bytes);
    format!("{number}{unit}")
}

/// The same as `images` has it: `12.3 MB`.
pub(crate) fn spaced_size(bytes: u64) -> String {
    let (number, unit) = scaled(bytes);
    format!("{number} {unit}")
}

fn scaled(bytes: u64) -> (String, &'static str) {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = "B";
    while let Some(next) = units.next() {
        unit = next;
        // What rounds to a thousand of one is one of the next.
        if value < 999.5 || units.len() == 0 {
            break;
        }
        value /= 1000.0;
    }
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    (text.to_owned(), unit)
}

/// A time of Podman's documents.
pub(crate) fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        let said = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(said(0), "Less than a second");
        assert_eq!(said(1), "1 second");
        assert_eq!(said(59), "59 seconds");
        assert_eq!(said(119), "About a minute");
        assert_eq!(said(3 * 60), "3 minutes");
        assert_eq!(said(3600), "About an hour");
        assert_eq!(said(2 * 3600), "2 hours");
        assert_eq!(said(47 * 3600), "47 hours");
        assert_eq!(said(3 * 86400), "3 days");
        assert_eq!(said(15 * 86400), "2 weeks");
        assert_eq!(said(70 * 86400), "2 months");
        assert_eq!(said(900 * 86400), "2 years");
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234, "1.23kB"),
            (12_345_678, "12.3MB"),
            (999_999, "1MB"),
            (7_654_321_000, "7.65GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(spaced_size(1_234), "1.23 kB");
        assert_eq!(size(u64::MAX), "18447PB");
    }
}
