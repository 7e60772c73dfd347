//! `pod ps --filter KEY=VALUE`: which pods are meant. Several values of one key are alternatives, but
//! for labels; different keys must all hold.

use regex::Regex;

use crate::launch::pod::definition::Pod;
use crate::launch::pod::members::Status;
use crate::launch::view::container::state;
use crate::launch::view::filter::{Filters, InvalidFilter, has_label, one_of, patterns};
use crate::store::containers::Record;

const KEYS: &str = "ctr-ids, ctr-names, ctr-number, ctr-status, id, label, name, status";
const STATUS: [&str; 4] = ["created", "running", "degraded", "exited"];
const CONTAINER: [&str; 4] = ["created", "running", "paused", "exited"];

/// A pod, with what a filter can ask of it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) status: Status,
    pub(crate) members: &'a [Record],
}

/// What a list of pods is narrowed to.
#[derive(Debug)]
pub(crate) struct PodFilter(Vec<Test>);

/// One key with its alternatives, checked.
#[derive(Debug)]
enum Test {
    Name(Vec<Regex>),
    Id(Vec<String>),
    /// All of them.
    Label(Vec<String>),
    Status(Vec<String>),
    MemberNames(Vec<String>),
    MemberIds(Vec<String>),
    MemberStatus(Vec<String>),
    /// How many there are, with the infra.
    MemberNumber(Vec<String>),
}

impl PodFilter {
    /// # Errors
    /// For keys and values that do not exist.
    pub(crate) fn new(filters: &Filters) -> Result<Self, InvalidFilter> {
        let test = |(key, values): (&str, &[String])| {
            Ok(match key {
                "name" => Test::Name(patterns(values)?),
                "id" => Test::Id(values.into()),
                "label" => Test::Label(values.into()),
                "status" => Test::Status(one_of(&STATUS, "status", values)?),
                "ctr-names" => Test::MemberNames(values.into()),
                "ctr-ids" => Test::MemberIds(values.into()),
                "ctr-status" => Test::MemberStatus(one_of(&CONTAINER, "ctr-status", values)?),
                "ctr-number" => Test::MemberNumber(values.into()),
                _ => return Err(InvalidFilter::Key { key: key.to_owned(), known: KEYS }),
            })
        };
        filters.iter().map(test).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn holds(&self, seen: &Seen<'_>) -> bool {
        self.0.iter().all(|test| test.holds(seen))
    }
}

impl Test {
    fn holds(&self, seen: &Seen<'_>) -> bool {
        let Seen { pod, status, members } = seen;
        let begins = |id: &str, values: &[String]| {
            values.iter().any(|value| !value.is_empty() && id.starts_with(value.as_str()))
        };
        match self {
            Self::Name(values) => values.iter().any(|value| value.is_match(&pod.name)),
            Self::Id(values) => begins(pod.id.as_str(), values),
            Self::Label(values) => {
                let label = |key: &str| pod.labels.get(key).map(String::as_str);
                values.iter().all(|value| has_label(value, label))
            }
            Self::Status(values) => {
                values.iter().any(|value| status.word().eq_ignore_ascii_case(value))
            }
            Self::MemberNames(values) => members.iter().any(|member| values.contains(&member.name)),
            Self::MemberIds(values) => {
                members.iter().any(|member| begins(member.id.as_str(), values))
            }
            Self::MemberStatus(values) => {
                members.iter().any(|member| values.iter().any(|value| value == state(member)))
            }
            Self::MemberNumber(values) => {
                let number = (members.len() + 1).to_string();
                values.contains(&number)
            }
        }
    }
}
