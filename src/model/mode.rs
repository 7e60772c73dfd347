//! How much of an update is done by itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is done about a new image before somebody asks for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Mode {
    /// The unit is updated.
    #[default]
    Auto,
    /// The image is pulled, and the unit updated once somebody approved that image.
    Approve,
    /// The image is pulled; the unit is updated when it is named.
    Download,
    /// That there is an image is told; all else is done when the unit is named.
    Notify,
    /// Nothing, until the unit is named.
    Manual,
}

/// Why a text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a mode: \"auto\", \"approve\", \"download\", \"notify\" or \"manual\"")]
pub struct InvalidMode(String);

impl Mode {
    const ALL: [Self; 5] = [Self::Auto, Self::Approve, Self::Download, Self::Notify, Self::Manual];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Approve => "approve",
            Self::Download => "download",
            Self::Notify => "notify",
            Self::Manual => "manual",
        }
    }

    /// Whether images are pulled before the unit may have them.
    pub fn downloads(self) -> bool {
        match self {
            Self::Auto | Self::Approve | Self::Download => true,
            Self::Notify | Self::Manual => false,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| InvalidMode(text.chars().take(100).collect()))
    }
}

impl TryFrom<String> for Mode {
    type Error = InvalidMode;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_word() {
        for mode in Mode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
            assert_eq!(serde_json::from_value::<Mode>(mode.name().into()).unwrap(), mode);
        }
        let error = "atuo".parse::<Mode>().unwrap_err().to_string();
        assert!(error.starts_with("\"atuo\" is not a mode: \"auto\""), "{error}");
    }
}
