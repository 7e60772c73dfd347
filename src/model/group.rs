//! Groups of units that are updated together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a group: units whose new images go together, forward and back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Group(String);

/// Why a text is no group's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a group, such as \"web-stack\": 1 to 64 letters, digits, \"-\", \"_\" \
     and \".\", the first a letter or a digit"
)]
pub struct InvalidGroup(pub String);

impl Group {
    /// The longest name, in bytes.
    pub const MAX: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Group {
    type Err = InvalidGroup;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let begins_well = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if begins_well && text.len() <= Self::MAX && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidGroup(text.chars().take(100).collect()))
        }
    }
}

impl TryFrom<String> for Group {
    type Error = InvalidGroup;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Group> for String {
    fn from(group: Group) -> Self {
        group.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let long = "a".repeat(Group::MAX);
        for good in ["web", "web-stack_2.0", "7", &long] {
            assert_eq!(good.parse::<Group>().unwrap().as_str(), good);
        }
        let longer = "a".repeat(Group::MAX + 1);
        for bad in ["", "-web", ".web", "a b", "a/b", "a\n", "ü", "\x1b[31m", &longer] {
            assert!(bad.parse::<Group>().is_err(), "{bad:?}");
        }
    }
}
