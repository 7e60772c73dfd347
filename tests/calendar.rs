//! Calendar events beside systemd's own: which are accepted, how they are written, and when they
//! come, where clocks are set too.
//!
//! Needs `systemd-analyze`. Skipped, with a message, where there is none; `make test` takes no skipping.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::process::Command;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil::DateTime};
use updaterd::model::Calendar;

/// Zones, and times shortly before their clocks are set.
///
/// Not Europe/Dublin nor Africa/Casablanca, where the time that counts as saved is winter's: systemd 252 looks
/// for ever there, or leaves out the rest of a day.
const PLACES: &[(&str, &[&str])] = &[
    ("UTC", &["2026-02-27T22:10:00Z", "2027-12-31T23:59:58Z"]),
    ("Europe/Berlin", &["2026-03-28T22:10:00Z", "2026-10-24T21:10:00Z", "2026-06-15T12:34:56Z"]),
    ("America/New_York", &["2026-03-08T05:10:00Z", "2026-11-01T04:10:00Z"]),
    ("Australia/Lord_Howe", &["2026-04-04T13:10:00Z", "2026-10-03T14:10:00Z"]),
    ("Asia/Kathmandu", &["2026-03-28T22:10:00Z"]),
    ("Asia/Tehran", &["2021-03-21T18:10:00Z", "2021-09-21T17:10:00Z"]),
];

/// What the expressions come from that are made up: the same each time.
const SEED: u64 = 38;

/// How many times of each.
const TIMES: usize = 6;

/// What people write, and what they had better not.
const WRITTEN: &[&str] = &[
    "minutely",
    "hourly",
    "Daily",
    "weekly",
    "monthly",
    "quarterly",
    "semiannually",
    "yearly",
    "anually",
    "Sat,Sun 02:00",
    "Mon..Fri 22:30",
    "Mon,Wed..fri,sunday",
    "Sat",
    "Sat,",
    "Thu-Sat 1:2:3",
    "Mon..",
    "Fri..Mon",
    "Mon..Tue..Wed",
    "Montag",
    "*-*~01 03:30",
    "*-*~07/1 2:00",
    "*-*~01..03",
    "*-*~03..01",
    "*-02-29",
    "*-02-30",
    "2-29",
    "02~1",
    "Fri *-*-13",
    "Mon *-5~07/1",
    "2026-*-* 2:30",
    "26-3-29 2:30",
    "2026-10-25 02:30",
    "99-1-1",
    "2199-12-31",
    "2200-01-01",
    "1969-01-01",
    "2/4:30",
    "0/4:00",
    "*:0/20",
    "*:*",
    "*:*:*",
    "*:*:0/6",
    "*:*:15,45",
    "*:*:5..5",
    "*:*:5..6",
    "*:*:0.5",
    "*:*:0.25/0.5",
    "1..1:0",
    "1..5/7:0",
    "1..5/2:0",
    "1..23/23:0",
    "0/24:0",
    "23/1:0",
    "22/1:0",
    "1/0:0",
    "5..3:0",
    "2,1,2:5",
    "1,2,2..4/5 8:9",
    "03-05",
    "03-05 08:05:40",
    "2003-02..04-05",
    "12:",
    ":12",
    "12:30:",
    "1:2:3:4",
    "25:00",
    "24:00",
    "00:60",
    "00:00:60",
    "12-31-2026",
    "*-*-32",
    "*-*~28",
    "*-*~29",
    "1~2-3",
    "",
    "@1700000000",
    "@1700000000 1:2",
    "10:00 UTC",
    "10:00 utc",
    "02:30 Europe/Berlin",
    "Sun 1:30 America/New_York",
    "weekly Australia/Lord_Howe",
    "daily Atlantis/Capital",
    "01-01..12/3 4:00",
    "*-1,7-1..7 5:00",
    "+1:0",
    "1 :0",
    "0x1:0",
    "*-*-1/3",
    "*-*-30/3",
    "*-1/5-1",
    "2025/1-01-01",
    "*-*",
    "*",
    "*-*-*-*",
    "Mon*-*-*",
];

/// Made up of parts that fit together, most of the time.
fn made_up(random: &mut fastrand::Rng) -> String {
    let field = |random: &mut fastrand::Rng, first: u32, last: u32| {
        let component = |random: &mut fastrand::Rng| {
            let (one, other, step) =
                (random.u32(first..=last), random.u32(first..=last), random.u32(1..=last / 2));
            match random.u32(0..5) {
                0 => format!("{}..{}", one.min(other), one.max(other)),
                1 => format!("{}..{}/{step}", one.min(other), one.max(other)),
                // What steps over the end of its field systemd 252 sometimes goes on with in the middle
                // of the next (its issue 22833).
                2 if (last + 1 - first).is_multiple_of(step) => format!("{first}/{step}"),
                _ => one.to_string(),
            }
        };
        match random.u32(0..3) {
            0 => "*".to_owned(),
            1 => component(random),
            _ => (0..random.u32(1..4)).map(|_| component(random)).collect::<Vec<_>>().join(","),
        }
    };
    let days = ["", "", "Sun ", "Sat,Sun ", "Mon..Wed,Sun "];
    let mut text = days[random.usize(0..days.len())].to_owned();
    if random.bool() {
        let year = ["*", "*", "2026", "26..28", "2026/2"][random.usize(0..5)];
        let (month, from_end) = (field(random, 1, 12), random.u32(0..4) == 0);
        // With each further alternative systemd takes three days less for counted from the end.
        let day = field(random, 1, if from_end { 19 } else { 31 });
        text.push_str(&format!("{year}-{month}{}{day} ", if from_end { "~" } else { "-" }));
    }
    text.push_str(&format!("{}:{}", field(random, 0, 23), field(random, 0, 59)));
    if random.bool() {
        text.push_str(&format!(":{}", field(random, 0, 59)));
    }
    text
}

/// What systemd says of one expression, or we do.
#[derive(Debug)]
struct Said {
    normal: String,
    /// To the second, as systemd shows them.
    times: Vec<Timestamp>,
}

impl Said {
    /// Of times that clocks show twice, systemd takes the one or the other, by where it comes from: they are
    /// left out.
    fn differs(&self, theirs: &Self, text: &str, zone: &str) -> bool {
        let own = text.parse::<Calendar>().unwrap();
        let zone = TimeZone::get(own.zone().unwrap_or(zone)).unwrap();
        let once = |said: &Self| -> Vec<Timestamp> {
            let twice = |time: &Timestamp| {
                zone.to_ambiguous_timestamp(zone.to_datetime(*time)).is_ambiguous()
            };
            said.times.iter().copied().filter(|time| !twice(time)).collect()
        };
        let (own, theirs_once) = (once(self), once(theirs));
        let all = self.times.len() == theirs.times.len();
        self.normal != theirs.normal || !all || own.iter().zip(&theirs_once).any(|(a, b)| a != b)
    }
}

enum Theirs {
    Refused,
    Said(Said),
    GaveUp,
}

fn systemd(texts: &[String], zone: &str, after: Timestamp) -> Vec<Theirs> {
    let output = Command::new("systemd-analyze")
        .args(["calendar", &format!("--iterations={TIMES}")])
        .arg(format!("--base-time={}", after.strftime("%Y-%m-%d %H:%M:%S UTC")))
        .arg("--")
        .args(texts)
        .env("TZ", zone)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let (output, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let mut told = output.split("\n\n").filter(|said| said.contains("Normalized form: "));
    // What it gives up on it has accepted, and says nothing else of.
    let says = |what: &str, text: &String| errors.contains(&format!("{what} '{text}'"));
    let all = texts.iter().map(|text| {
        if says("calendar specification", text) {
            Theirs::Refused
        } else if says("next elapse for", text) {
            Theirs::GaveUp
        } else {
            let told = told.next();
            Theirs::Said(said(told.unwrap_or_else(|| panic!("{text:?}: {errors}")), zone))
        }
    });
    let all = all.collect();
    assert_eq!(told.count(), 0, "{errors}");
    all
}

fn said(told: &str, zone: &str) -> Said {
    let normal = told.lines().find_map(|line| line.split_once("Normalized form: "));
    let time = |line: &str| {
        let (name, time) = line.split_once(": ")?;
        let in_utc = name.trim() == "(in UTC)";
        let is_utc = zone == "UTC" && (name.contains("Next elapse") || name.contains("Iter"));
        let time = time.strip_suffix(" UTC").filter(|_| in_utc || is_utc)?;
        let (_weekday, time) = time.split_once(' ').unwrap();
        let time: DateTime = time.replace(' ', "T").parse().unwrap();
        Some(TimeZone::UTC.to_timestamp(time).unwrap())
    };
    Said { normal: normal.unwrap().1.to_owned(), times: told.lines().filter_map(time).collect() }
}

fn ours(text: &str, zone: &str, after: Timestamp) -> Option<Said> {
    let calendar: Calendar = text.parse().ok()?;
    let zone = TimeZone::get(calendar.zone().unwrap_or(zone)).ok()?;
    let mut last = after;
    let mut next = || {
        last = calendar.next(last, &zone)?;
        Some(Timestamp::from_second(last.as_second()).unwrap())
    };
    let times = std::iter::from_fn(&mut next).take(TIMES).collect();
    Some(Said { normal: calendar.to_string(), times })
}

#[test]
fn calendar_events_are_those_of_systemd() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("UPDATERD_REQUIRE_SYSTEM").is_none_or(|value| value != "1"),
            "there is no systemd-analyze"
        );
        eprintln!("there is no systemd-analyze: nothing was compared");
        return;
    }
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut differences = Vec::new();
    let (mut accepted, mut refused, mut given_up) = (0, 0, 0);
    for (zone, times) in PLACES {
        for after in *times {
            let after: Timestamp = after.parse().unwrap();
            let mut texts: Vec<String> = WRITTEN.iter().map(|text| (*text).to_owned()).collect();
            texts.extend((0..100).map(|_| made_up(&mut random)));
            for (text, theirs) in texts.iter().zip(systemd(&texts, zone, after)) {
                let ours = ours(text, zone, after);
                match ours.is_some() {
                    true => accepted += 1,
                    false => refused += 1,
                }
                let theirs = match theirs {
                    Theirs::Refused => None,
                    Theirs::Said(said) => Some(said),
                    Theirs::GaveUp => {
                        given_up += 1;
                        continue;
                    }
                };
                let differs = match (&ours, &theirs) {
                    (Some(ours), Some(theirs)) => ours.differs(theirs, text, zone),
                    (None, None) => false,
                    _ => true,
                };
                if differs {
                    differences.push(format!(
                        "{text:?} in {zone} after {after}:\n  {theirs:?}\n  {ours:?}"
                    ));
                }
            }
        }
    }
    assert!(accepted > 1000 && refused > 100, "{accepted} and {refused}");
    assert!(given_up < accepted / 10, "{given_up} of {accepted},");
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}
