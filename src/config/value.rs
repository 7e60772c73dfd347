//! Values as they are written: each is checked where it stands, so that an error has its place.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use jiff::tz::TimeZone;

use crate::model::{MinFree, Proxy, Window};

/// A time such as `"90s"`, `"6h 30m"`, `"1week"`.
pub(super) fn time<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    value.deserialize_str(Time).map(Some)
}

struct Time;

impl Visitor<'_> for Time {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"90s\" or \"6h 30m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        humantime::parse_duration(text).map_err(|error| {
            E::custom(format!("{text:?} is not a time such as \"90s\" or \"6h 30m\": {error}"))
        })
    }
}

/// A time of at least a second.
pub(super) fn pause<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    time(value)?.map(at_least_a_second).transpose()
}

fn at_least_a_second<E: Error>(time: Duration) -> Result<Duration, E> {
    match time {
        time if time < Duration::from_secs(1) => Err(E::custom("must be at least \"1s\"")),
        time => Ok(time),
    }
}

/// A time of at least a second, or `"never"`, which is `None` inside.
#[expect(clippy::option_option, reason = "the outer one is a key that is not written")]
pub(super) fn or_never<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<Duration>>, D::Error> {
    struct OrNever;

    impl Visitor<'_> for OrNever {
        type Value = Option<Duration>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time such as \"30d\", or \"never\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            match text {
                "never" => Ok(None),
                text => at_least_a_second(Time.visit_str(text)?).map(Some),
            }
        }
    }

    value.deserialize_str(OrNever).map(Some)
}

/// A number from 1 to 256.
pub(super) fn count<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    let number = i64::deserialize(value)?;
    match usize::try_from(number) {
        Ok(count @ 1..=256) => Ok(Some(count)),
        _ => Err(D::Error::invalid_value(Unexpected::Signed(number), &"a number from 1 to 256")),
    }
}

/// A number from 0 to 100.
pub(super) fn percent<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u8>, D::Error> {
    let number = i64::deserialize(value)?;
    match u8::try_from(number) {
        Ok(percent @ 0..=100) => Ok(Some(percent)),
        _ => Err(D::Error::invalid_value(Unexpected::Signed(number), &"a number from 0 to 100")),
    }
}

/// A size such as `"10GiB"` or `"500MB"`, in bytes.
pub(super) fn size<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    struct Size;

    impl Visitor<'_> for Size {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size such as \"10GiB\" or \"500MB\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            bytes(text)
        }
    }

    value.deserialize_str(Size).map(Some)
}

/// A size with its unit, without which "5" might be meant for 5 of anything.
fn bytes<E: Error>(text: &str) -> Result<u64, E> {
    let has_unit = text == "0" || text.ends_with(|c: char| c.is_ascii_alphabetic());
    let size = text.parse::<bytesize::ByteSize>().ok().filter(|_| has_unit);
    size.map(|size| size.as_u64()).ok_or_else(|| {
        E::custom(format!("{text:?} is not a size such as \"10GiB\" or \"500MB\", or \"0\""))
    })
}

/// A size that a second may bring, or `"0"` for any. With less than this a registry or what is before it
/// takes us for dead and hangs up.
pub(super) fn rate<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    const LEAST: u64 = 32 << 10;
    match size(value)? {
        Some(1..LEAST) => {
            Err(D::Error::custom("must be at least \"32KiB\", or \"0\" for no limit"))
        }
        rate => Ok(rate),
    }
}

/// What is to stay free of a disk: a size, a share such as `"5%"`, or a list of both, of which the smaller
/// counts.
pub(super) fn min_free<'de, D: Deserializer<'de>>(value: D) -> Result<Option<MinFree>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "a size such as \"2GiB\", a share such as \"5%\", or a list of both"
    )]
    enum Written {
        One(String),
        Both([String; 2]),
    }
    let written = match Written::deserialize(value)? {
        Written::One(one) => vec![one],
        Written::Both(both) => both.into(),
    };
    let mut free = MinFree { bytes: u64::MAX, percent: 100 };
    for text in written {
        match text.strip_suffix('%') {
            Some(number) => free.percent = free.percent.min(share(number)?),
            None => free.bytes = free.bytes.min(bytes(&text)?),
        }
    }
    Ok(Some(free))
}

/// A window such as `"Sat 02:00 for 4h"`, or a list of them; `[]` for any time. The host knows their zones.
pub(super) fn windows<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Vec<Window>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a window such as \"Sat 02:00 for 4h\", or a list of them")]
    enum Written {
        One(String),
        Many(Vec<String>),
    }
    let written = match Written::deserialize(value)? {
        Written::One(one) => vec![one],
        Written::Many(many) => many,
    };
    let window = |text: String| {
        let window: Window = text.parse().map_err(D::Error::custom)?;
        match window.calendar.zone().map(TimeZone::get) {
            Some(Err(error)) => Err(D::Error::custom(format!("{text:?}: {error}"))),
            _ => Ok(window),
        }
    };
    written.into_iter().map(window).collect::<Result<_, _>>().map(Some)
}

fn share<E: Error>(number: &str) -> Result<u64, E> {
    match number.parse() {
        Ok(percent @ 0..=99) => Ok(percent),
        _ => Err(E::custom(format!("\"{number}%\" is not a share from \"0%\" to \"99%\""))),
    }
}

/// A path from the root.
pub(super) fn path<'de, D: Deserializer<'de>>(value: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(value)?;
    if path.is_absolute() {
        Ok(Some(path))
    } else {
        Err(D::Error::custom(format!("{path:?} is not a path from the root")))
    }
}

/// A program, by its path from the root, and its arguments; `[]` for none.
pub(super) fn command<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Vec<String>>, D::Error> {
    let command = Vec::<String>::deserialize(value)?;
    match command.first() {
        Some(program) if !program.starts_with('/') => {
            Err(D::Error::custom(format!("{program:?} is not a program's path from the root")))
        }
        _ => Ok(Some(command)),
    }
}

/// The address of a webhook; `""` for none. It may hold a secret, and is not repeated.
pub(super) fn webhook<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(value)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_address = rest.is_some_and(|rest| {
        !rest.starts_with(['/', ':', '?', '#'])
            && !rest.is_empty()
            && rest.chars().all(|c| c.is_ascii_graphic())
    });
    if is_address || text.is_empty() {
        Ok(Some(text))
    } else {
        Err(D::Error::custom("a webhook is \"https://HOST[:PORT]/PATH\", or http://"))
    }
}

/// A proxy; `""` for none. It may hold a password, and is not repeated.
#[expect(clippy::option_option, reason = "the outer one is a key that is not written")]
pub(super) fn proxy<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<Proxy>>, D::Error> {
    match String::deserialize(value)?.as_str() {
        "" => Ok(Some(None)),
        text => text.parse().map(|proxy| Some(Some(proxy))).map_err(D::Error::custom),
    }
}
