//! How a container wants to be updated.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The value of the label `io.containers.autoupdate` (podman-auto-update(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Ask the registry whether the reference points at another image. `image` is the old name.
    Registry,
    /// Compare with the image of that name in local storage.
    Local,
    /// Leave it alone.
    Disabled,
}

/// A label value that names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid auto-update policy {0:?}: valid policies are [\"disabled\" \"image\" \"local\" \"registry\"]"
)]
pub struct InvalidPolicy(pub String);

impl Policy {
    /// Reads a label's value; an empty one means `disabled`.
    pub fn from_label(value: &str) -> Result<Self, InvalidPolicy> {
        match value {
            "registry" | "image" => Ok(Self::Registry),
            "local" => Ok(Self::Local),
            "disabled" | "" => Ok(Self::Disabled),
            other => Err(InvalidPolicy(other.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "registry",
            Self::Local => "local",
            Self::Disabled => "disabled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_valid_values() {
        assert_eq!(Policy::from_label("image"), Ok(Policy::Registry));
        assert_eq!(Policy::from_label(""), Ok(Policy::Disabled));
        let error = Policy::from_label("always").unwrap_err().to_string();
        assert!(error.contains("\"always\"") && error.contains("\"local\""), "{error}");
    }
}
