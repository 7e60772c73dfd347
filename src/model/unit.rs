//! Names of systemd units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a service unit, such as `app.service` or `app@1.service` (systemd.unit(5)).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

/// Why a text is no unit name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a service unit, such as \"app.service\"")]
pub struct InvalidUnitName(pub String);

/// What names of units end with (systemd.unit(5)).
const SUFFIXES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

impl UnitName {
    /// The longest name systemd takes, in bytes (`UNIT_NAME_MAX`).
    pub const MAX: usize = 255;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a person may write it on a command line: `.service` is added where it has no suffix of a
    /// unit, as systemctl(1) does.
    pub fn from_argument(text: &str) -> Result<Self, InvalidUnitName> {
        let suffixed = text
            .rsplit_once('.')
            .is_some_and(|(stem, suffix)| !stem.is_empty() && SUFFIXES.contains(&suffix));
        if suffixed { text.parse() } else { format!("{text}.service").parse() }
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UnitName {
    type Err = InvalidUnitName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
        let stem = text.strip_suffix(".service").unwrap_or_default();
        if stem.is_empty()
            || stem.starts_with('@')
            || text.len() > Self::MAX
            || !text.bytes().all(legal)
        {
            return Err(InvalidUnitName(text.chars().take(100).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for UnitName {
    type Error = InvalidUnitName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_service_names_only() {
        for good in ["app.service", "app@1.service", "a-b\\x2dc.service"] {
            assert!(good.parse::<UnitName>().is_ok(), "{good}");
        }
        let long = format!("{}.service", "a".repeat(250));
        for bad in
            ["", ".service", "@.service", "app", "app.timer", "a/b.service", "a b.service", &long]
        {
            assert!(bad.parse::<UnitName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn completes_an_argument() {
        for (text, name) in [
            ("app", "app.service"),
            ("my.app", "my.app.service"),
            ("app.service", "app.service"),
            ("app@1.2", "app@1.2.service"),
        ] {
            assert_eq!(UnitName::from_argument(text).unwrap().as_str(), name);
        }
        for bad in ["app.socket", "", "app.timer"] {
            assert!(UnitName::from_argument(bad).is_err(), "{bad}");
        }
    }
}
