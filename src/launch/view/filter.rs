//! `--filter KEY=VALUE`: which containers or images are meant.
//!
//! Several values of one key are alternatives, but for labels; different keys must all hold.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use regex::Regex;

use crate::launch::view::container::Container;
use crate::launch::view::host_config::{mounts, network_mode};
use crate::launch::view::row::networks;
use crate::model::Reference;
use crate::store::Image;

/// A filter that is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidFilter {
    #[error("--filter {0:?} is not KEY=VALUE")]
    Form(String),
    #[error("--filter {key:?}: there is no such key; there are {known}")]
    Key { key: String, known: &'static str },
    #[error("--filter {key}={value:?}: the value is {wanted}")]
    Value { key: &'static str, value: String, wanted: String },
    #[error("--filter {key}={value:?} names nothing that is there")]
    Nothing { key: &'static str, value: String },
}

/// Values by key, as they were written.
#[derive(Debug, Default)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// # Errors
    /// Where one is not `KEY=VALUE`.
    pub(crate) fn parse(words: &[String]) -> Result<Self, InvalidFilter> {
        let mut filters = BTreeMap::<String, Vec<String>>::new();
        for word in words {
            let (key, value) =
                word.split_once('=').ok_or_else(|| InvalidFilter::Form(word.clone()))?;
            // `label!=key` is a key of its own.
            filters.entry(key.trim().to_owned()).or_default().push(value.to_owned());
        }
        Ok(Self(filters))
    }

    /// Keys and their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }
}

const CONTAINER_KEYS: &str = "ancestor, before, exited, health, id, label, label!, name, network, \
                              pod, since, status, until, volume";
const HEALTH: [&str; 3] = ["starting", "healthy", "unhealthy"];
const STATES: [&str; 8] =
    ["created", "initialized", "running", "stopped", "paused", "exited", "removing", "stopping"];

/// One key with its alternatives, checked.
#[derive(Debug)]
enum Test {
    Name(Vec<Regex>),
    Id(Vec<String>),
    /// All of them.
    Label(Vec<String>),
    NotLabel(Vec<String>),
    Status(Vec<String>),
    Health(Vec<String>),
    Ancestor(Vec<String>),
    Exited(Vec<i32>),
    Volume(Vec<String>),
    Network(Vec<String>),
    /// By name, or by the beginning of the ID.
    Pod(Vec<String>),
    /// Created before the first of these, or after.
    Before(Timestamp),
    Since(Timestamp),
}

/// What a list of containers is narrowed to.
#[derive(Debug)]
pub(crate) struct ContainerFilter(Vec<Test>);

impl ContainerFilter {
    /// `all` is where `before` and `since` look for what they name.
    ///
    /// # Errors
    /// For keys and values that do not exist.
    pub(crate) fn new(
        filters: &Filters,
        all: &[Container],
        now: Timestamp,
    ) -> Result<Self, InvalidFilter> {
        let created = |key, value: &String| {
            let named = all.iter().find(|container| {
                container.record.name == *value || container.record.id.as_str().starts_with(value)
            });
            let named = named.filter(|_| !value.is_empty());
            named
                .map(|container| container.record.created)
                .ok_or_else(|| InvalidFilter::Nothing { key, value: value.clone() })
        };
        let mut tests = Vec::new();
        for (key, values) in filters.iter() {
            let test = match key {
                "name" => Test::Name(patterns(values)?),
                "id" => Test::Id(values.into()),
                "label" => Test::Label(values.into()),
                "label!" => Test::NotLabel(values.into()),
                "status" | "state" => Test::Status(one_of(&STATES, "status", values)?),
                "health" => Test::Health(one_of(&HEALTH, "health", values)?),
                "ancestor" => Test::Ancestor(values.into()),
                "exited" => Test::Exited(exit_codes(values)?),
                "volume" => Test::Volume(values.into()),
                "network" => Test::Network(values.into()),
                "pod" => Test::Pod(values.into()),
                "before" => {
                    let times = values.iter().map(|value| created("before", value));
                    let times = times.collect::<Result<Vec<_>, _>>()?;
                    Test::Before(times.into_iter().min().unwrap_or(now))
                }
                "since" => {
                    let times = values.iter().map(|value| created("since", value));
                    let times = times.collect::<Result<Vec<_>, _>>()?;
                    Test::Since(times.into_iter().max().unwrap_or(now))
                }
                "until" => {
                    let times = values.iter().map(|value| until(value, now));
                    let times = times.collect::<Result<Vec<_>, _>>()?;
                    Test::Before(times.into_iter().min().unwrap_or(now))
                }
                _ => {
                    let known = CONTAINER_KEYS;
                    return Err(InvalidFilter::Key { key: key.to_owned(), known });
                }
            };
            tests.push(test);
        }
        Ok(Self(tests))
    }

    /// Whether states are asked for: then containers that do not run are meant, too.
    pub(crate) fn names_states(&self) -> bool {
        self.0.iter().any(|test| matches!(test, Test::Status(_) | Test::Exited(_)))
    }

    pub(crate) fn holds(&self, container: &Container) -> bool {
        self.0.iter().all(|test| test.holds(container))
    }
}

impl Test {
    fn holds(&self, container: &Container) -> bool {
        let record = &container.record;
        match self {
            Self::Name(values) => values.iter().any(|value| value.is_match(&record.name)),
            Self::Id(values) => {
                values.iter().any(|value| record.id.as_str().starts_with(value.as_str()))
            }
            Self::Label(values) => {
                let labels = container.labels();
                values.iter().all(|value| has_label(value, |key| labels.get(key).copied()))
            }
            Self::NotLabel(values) => {
                let labels = container.labels();
                !values.iter().any(|value| has_label(value, |key| labels.get(key).copied()))
            }
            Self::Status(values) => values.iter().any(|value| value == container.state()),
            Self::Health(values) => container.health.as_ref().is_some_and(|health| {
                values.iter().any(|value| *value == health.status.to_string())
            }),
            Self::Ancestor(values) => values.iter().any(|value| is_ancestor(value, container)),
            Self::Exited(codes) => {
                container.state() == "exited" && codes.contains(&container.exit_code())
            }
            Self::Volume(values) => mounts(container).iter().any(|mount| {
                values.iter().any(|value| {
                    ["Source", "Destination", "Name"]
                        .iter()
                        .any(|field| mount[*field].as_str() == Some(value))
                })
            }),
            Self::Network(values) => {
                let networks = networks(container);
                values
                    .iter()
                    .any(|value| networks.contains(value) || *value == network_mode(container))
            }
            Self::Pod(values) => values.iter().any(|value| {
                let by_id = record
                    .pod
                    .as_ref()
                    .is_some_and(|id| !value.is_empty() && id.as_str().starts_with(value.as_str()));
                by_id || container.pod.as_ref() == Some(value)
            }),
            Self::Before(time) => record.created < *time,
            Self::Since(time) => record.created > *time,
        }
    }
}

/// Regular expressions that a part of the name must match.
pub(crate) fn patterns(values: &[String]) -> Result<Vec<Regex>, InvalidFilter> {
    let wanted = || "a regular expression".to_owned();
    let refused = |value: &String| InvalidFilter::Value {
        key: "name",
        value: value.clone(),
        wanted: wanted(),
    };
    values.iter().map(|value| Regex::new(value).map_err(|_| refused(value))).collect()
}

/// `KEY` or `KEY=VALUE`.
pub(crate) fn has_label<'a>(wanted: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => label(key) == Some(value),
        None => label(wanted).is_some(),
    }
}

/// By reference, by ID of the image, or by a layer that the image begins with.
fn is_ancestor(value: &str, container: &Container) -> bool {
    let record = &container.record;
    let same = |reference: Reference| {
        reference.name() == record.reference.name()
            && (!value_has_tag(value) || reference.tag() == record.reference.tag())
    };
    let id = value.strip_prefix("sha256:").unwrap_or(value);
    let by_id = id.len() >= 4
        && (container.image_id().starts_with(id) || record.image.manifest.hex().starts_with(id));
    by_id || value.parse::<Reference>().is_ok_and(same)
}

fn value_has_tag(value: &str) -> bool {
    value.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// Each of them one of the words that there are.
pub(crate) fn one_of(
    words: &[&str],
    key: &'static str,
    values: &[String],
) -> Result<Vec<String>, InvalidFilter> {
    let check = |value: &String| match words.contains(&value.as_str()) {
        true => Ok(value.clone()),
        false => {
            let wanted = format!("one of {}", words.join(", "));
            Err(InvalidFilter::Value { key, value: value.clone(), wanted })
        }
    };
    values.iter().map(check).collect()
}

fn exit_codes(values: &[String]) -> Result<Vec<i32>, InvalidFilter> {
    let number = |value: &String| {
        let wanted = || "an exit status".to_owned();
        let refused =
            |_| InvalidFilter::Value { key: "exited", value: value.clone(), wanted: wanted() };
        value.parse().map_err(refused)
    };
    values.iter().map(number).collect()
}

/// A time, or how long ago: `2026-11-26T08:00:00Z`, `1793000000`, `10m`, `24h`.
pub(crate) fn until(value: &str, now: Timestamp) -> Result<Timestamp, InvalidFilter> {
    let wanted = "a time (2026-11-26T08:00:00Z, 1793000000) or how long ago (10m, 24h)";
    moment(value, now).ok_or_else(|| InvalidFilter::Value {
        key: "until",
        value: value.to_owned(),
        wanted: wanted.to_owned(),
    })
}

/// See [`until`]; a time without a zone is this host's.
pub(crate) fn moment(value: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(time) = value.parse() {
        return Some(time);
    }
    if let Some((seconds, fraction)) =
        value.split_once('.').or(Some((value, ""))).filter(|(seconds, fraction)| {
            !seconds.is_empty()
                && [seconds, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()))
        })
    {
        let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        return Timestamp::new(seconds.parse().ok()?, nanoseconds).ok();
    }
    if let Ok(local) = value.parse::<jiff::civil::DateTime>() {
        return local.to_zoned(jiff::tz::TimeZone::system()).ok().map(|zoned| zoned.timestamp());
    }
    let ago = humantime::parse_duration(value.trim_start_matches('-')).ok()?;
    now.checked_sub(SignedDuration::try_from(ago).ok()?).ok()
}

const IMAGE_KEYS: &str = "before, containers, dangling, id, label, label!, reference, since, until";

/// What a list of images is narrowed to.
#[derive(Debug)]
pub(crate) struct ImageFilter(Vec<ImageTest>);

#[derive(Debug)]
enum ImageTest {
    Reference(Vec<String>),
    Id(Vec<String>),
    Label(Vec<String>),
    NotLabel(Vec<String>),
    Dangling(bool),
    /// Whether containers use it.
    Containers(bool),
    Before(Timestamp),
    Since(Timestamp),
}

impl ImageFilter {
    /// `all` is where `before` and `since` look for what they name.
    ///
    /// # Errors
    /// For keys and values that do not exist.
    pub(crate) fn new(
        filters: &Filters,
        all: &[Image],
        now: Timestamp,
    ) -> Result<Self, InvalidFilter> {
        let mut tests = Vec::new();
        for (key, values) in filters.iter() {
            let first = values.first().map(String::as_str).unwrap_or_default();
            let test = match key {
                "reference" => ImageTest::Reference(values.into()),
                "id" => ImageTest::Id(values.into()),
                "label" => ImageTest::Label(values.into()),
                "label!" => ImageTest::NotLabel(values.into()),
                "dangling" => ImageTest::Dangling(truth("dangling", first)?),
                "containers" => ImageTest::Containers(truth("containers", first)?),
                "before" => ImageTest::Before(built("before", first, all)?),
                "since" | "after" => ImageTest::Since(built("since", first, all)?),
                "until" => ImageTest::Before(until(first, now)?),
                _ => {
                    return Err(InvalidFilter::Key { key: key.to_owned(), known: IMAGE_KEYS });
                }
            };
            tests.push(test);
        }
        Ok(Self(tests))
    }

    /// `used`: whether a container is made from it.
    pub(crate) fn holds(&self, image: &Image, used: bool) -> bool {
        self.0.iter().all(|test| test.holds(image, used))
    }
}

impl ImageTest {
    fn holds(&self, image: &Image, used: bool) -> bool {
        let config = image.config.config().as_ref();
        let labels = config.and_then(|config| config.labels().clone()).unwrap_or_default();
        let label = |value: &String| has_label(value, |key| labels.get(key).map(String::as_str));
        match self {
            Self::Reference(values) => values.iter().any(|value| {
                image.references.iter().any(|reference| is_referred(value, reference))
            }),
            Self::Id(values) => values.iter().any(|value| {
                image.id.hex().starts_with(value.strip_prefix("sha256:").unwrap_or(value))
            }),
            Self::Label(values) => values.iter().all(label),
            Self::NotLabel(values) => !values.iter().any(label),
            Self::Dangling(wanted) => image.references.is_empty() == *wanted,
            Self::Containers(wanted) => used == *wanted,
            Self::Before(time) => image.created.is_some_and(|created| created < *time),
            Self::Since(time) => image.created.is_some_and(|created| created > *time),
        }
    }
}

/// The name, or its last components, with or without the tag; `*` stands for anything in a component.
fn is_referred(pattern: &str, reference: &Reference) -> bool {
    let whole = reference.to_string();
    let name = reference.name();
    let ends = |text: &str| {
        let mut rest = text;
        loop {
            if globbed(pattern, rest) {
                return true;
            }
            match rest.split_once('/') {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    };
    ends(&whole) || ends(&name)
}

/// `*` is any run of characters but `/`, `?` any one.
fn globbed(pattern: &str, text: &str) -> bool {
    let pattern = regex::escape(pattern).replace("\\*", "[^/]*").replace("\\?", "[^/]");
    Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(text))
}

fn truth(key: &'static str, value: &str) -> Result<bool, InvalidFilter> {
    let wanted = "true or false";
    let (value, wanted) = (value, wanted.to_owned());
    value.parse().map_err(|_| InvalidFilter::Value { key, value: value.to_owned(), wanted })
}

fn built(key: &'static str, value: &str, all: &[Image]) -> Result<Timestamp, InvalidFilter> {
    let nothing = || InvalidFilter::Nothing { key, value: value.to_owned() };
    let named = all.iter().find(|image| {
        let by_name = value.parse::<Reference>().is_ok_and(|name| image.references.contains(&name));
        by_name || value.len() >= 4 && image.id.hex().starts_with(value)
    });
    named.and_then(|image| image.created).ok_or_else(nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_podmans_do() {
        let matches = |pattern: &str, name| patterns(&[pattern.into()]).unwrap()[0].is_match(name);
        assert!(matches("we", "web") && matches("^web$", "web") && matches("w.b|x", "web"));
        assert!(!matches("^eb", "web") && !matches("^web$", "web2"));
        assert!(patterns(&["(".into()]).is_err());
    }

    #[test]
    fn references_by_pattern() {
        let reference: Reference = "quay.io/team/app:1.2".parse().unwrap();
        for pattern in ["app", "app:1.2", "team/app", "quay.io/team/app", "*/app", "app:*", "a?p"] {
            assert!(is_referred(pattern, &reference), "{pattern}");
        }
        for pattern in ["ap", "app:1", "*", "quay.io/*", "other/app"] {
            assert_eq!(is_referred(pattern, &reference), pattern == "*", "{pattern}");
        }
    }

    #[test]
    fn moments() {
        let now: Timestamp = "2026-11-26T08:00:00Z".parse().unwrap();
        let at = |text| moment(text, now).unwrap().to_string();
        assert_eq!(at("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z");
        assert_eq!(at("10m"), "2026-11-26T07:50:00Z");
        assert_eq!(at("-1h"), "2026-11-26T07:00:00Z");
        assert_eq!(at("0"), "1970-01-01T00:00:00Z");
        assert_eq!(at("1.5"), "1970-01-01T00:00:01.5Z");
        assert!(moment("soon", now).is_none() && moment("", now).is_none());
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let parse = |word: &str| Filters::parse(&[word.to_owned()]);
        assert!(parse("name").is_err());
        let refused = |word: &str| {
            ContainerFilter::new(&parse(word).unwrap(), &[], Timestamp::UNIX_EPOCH).unwrap_err()
        };
        assert!(refused("nme=x").to_string().contains("there are ancestor"));
        assert!(refused("status=up").to_string().contains("created"));
        assert!(refused("exited=x").to_string().contains("exit status"));
        assert!(refused("before=none").to_string().contains("names nothing"));
        assert!(refused("until=soon").to_string().contains("how long ago"));
    }
}
