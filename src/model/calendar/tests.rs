use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

fn calendar(text: &str) -> Calendar {
    text.parse().unwrap()
}

/// As in most of the European Union.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

/// The next times after one.
fn times(text: &str, zone: &TimeZone, after: &str, count: usize) -> Vec<String> {
    let (calendar, mut after) = (calendar(text), after.parse::<Timestamp>().unwrap());
    let mut next = || {
        after = calendar.next(after, zone)?;
        Some(after.to_string())
    };
    std::iter::from_fn(&mut next).take(count).collect()
}

#[test]
fn there_is_one_normal_form() {
    for (text, normal) in [
        ("daily", "*-*-* 00:00:00"),
        ("Quarterly UTC", "*-01,04,07,10-01 00:00:00 UTC"),
        ("weekly Europe/Berlin", "Mon *-*-* 00:00:00 Europe/Berlin"),
        ("Sun,sat 2:3", "Sat,Sun *-*-* 02:03:00"),
        ("mon..FRIDAY,Sunday *:0/15", "Mon..Fri,Sun *-*-* *:00/15:00"),
        ("Mon..Sun", "*-*-* 00:00:00"),
        ("2,1,2:5", "*-*-* 01,02:05:00"),
        ("05-1..31/7", "*-05-01..29/7 00:00:00"),
        ("1..1:0", "*-*-* 01:00:00"),
        ("99-1~3 *:*:*", "1999-01~03 *:*:*"),
        ("*:*:0.5/1.25", "*-*-* *:*:00.500000/1.250000"),
        ("@1700000000", "2023-11-14 22:13:20 UTC"),
    ] {
        assert_eq!(calendar(text).to_string(), normal);
        assert_eq!(calendar(normal), calendar(text));
    }
}

#[test]
fn what_is_none_says_why() {
    for (text, why) in [
        ("", "it is empty"),
        (" UTC", "it is empty"),
        ("tomorrow", "a number is expected"),
        ("Mon..", "no end"),
        ("Fri..Mon", "before it begins"),
        ("Mon..Tue..Wed", "two ends"),
        ("Moon", "a number is expected"),
        ("25:00", "out of its range"),
        ("02-30-2026", "out of its range"),
        ("*-*~29", "out of its range"),
        ("1/0:0", "at least 1"),
        ("1~2-3", "before the day"),
        ("12:30:00 pm?", "HOUR:MINUTE:SECOND"),
        ("00:00\u{a0}", "a number is expected"),
    ] {
        let error = text.parse::<Calendar>().unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
    }
    assert!("1,".repeat(300).parse::<Calendar>().unwrap_err().to_string().contains("too many"));
    assert!("1".repeat(2000).parse::<Calendar>().unwrap_err().to_string().contains("too long"));
}

#[test]
fn clocks_that_are_set_skip_what_they_do_not_show_and_what_they_show_again() {
    let at = |text, after, count| times(text, &berlin(), after, count);
    let spring = "2026-03-28T23:00:00Z";
    assert_eq!(at("02:30", spring, 2), ["2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]);
    assert_eq!(at("2/4:30", spring, 2), ["2026-03-29T04:30:00Z", "2026-03-29T08:30:00Z"]);
    assert_eq!(at("2026-03-29 02:30", spring, 1), [] as [&str; 0]);
    let autumn = "2026-10-24T23:59:00Z";
    assert_eq!(
        at("*:0/30", autumn, 4),
        [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T02:00:00Z",
            "2026-10-25T02:30:00Z"
        ]
    );
    assert_eq!(at("2026-10-25 02:30", "2026-10-25T00:45:00Z", 1), [] as [&str; 0]);
    // As fine as can be: what is skipped is not gone through.
    assert_eq!(at("*:*:0/0.000001", "2026-03-29T00:59:59.999999Z", 1), ["2026-03-29T01:00:00Z"]);
    assert_eq!(at("*:*:0/0.000001", "2026-10-25T01:30:00Z", 1), ["2026-10-25T02:00:00Z"]);
}

#[test]
fn days_are_found_in_months_that_have_them() {
    let after = "2025-01-31T12:00:00Z";
    let at = |text, count| times(text, &TimeZone::UTC, after, count);
    assert_eq!(at("*-*~01 03:00", 2), ["2025-02-28T03:00:00Z", "2025-03-31T03:00:00Z"]);
    assert_eq!(at("*-*~01..02", 2), ["2025-02-27T00:00:00Z", "2025-02-28T00:00:00Z"]);
    assert_eq!(at("*-02-29", 2), ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    assert_eq!(at("Fri *-*-13", 1), ["2025-06-13T00:00:00Z"]);
    assert_eq!(at("*-02-30", 1), [] as [&str; 0]);
    assert_eq!(at("Mon *-*-1..7 4:00", 1), ["2025-02-03T04:00:00Z"]);
    assert_eq!(at("2024-*-*", 1), [] as [&str; 0]);
}

proptest! {
    #[test]
    fn no_text_panics(text in "([0-9*.,/~: -]|Mon|Sun|UTC|daily){0,12}", after in 0_i64..7_000_000_000) {
        if let Ok(calendar) = text.parse::<Calendar>() {
            prop_assert_eq!(&calendar.to_string().parse::<Calendar>().unwrap(), &calendar);
            let after = Timestamp::from_second(after).unwrap();
            let next = calendar.next(after, &berlin());
            prop_assert!(next.is_none_or(|next| next > after));
        }
    }
}
