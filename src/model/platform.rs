//! The platform an image was built for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Operating system, architecture and variant, in the words of the OCI image index
/// (image-spec, `image-index.md`): `linux`, `arm64`, `v8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform this program was compiled for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Whether an image offered for `offered` runs where one for `self` runs. A variant that
    /// either side leaves out matches any.
    pub fn accepts(&self, offered: &Platform) -> bool {
        let same_variant = match (&self.variant, &offered.variant) {
            (Some(own), Some(theirs)) => own == theirs,
            _ => true,
        };
        self.os == offered.os && self.architecture == offered.architecture && same_variant
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(architecture: &str, variant: Option<&str>) -> Platform {
        Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(str::to_owned),
        }
    }

    #[test]
    fn a_missing_variant_matches_any() {
        assert!(platform("arm64", Some("v8")).accepts(&platform("arm64", None)));
        assert!(platform("arm", Some("v7")).accepts(&platform("arm", Some("v7"))));
        assert!(!platform("arm", Some("v7")).accepts(&platform("arm", Some("v6"))));
        assert!(!platform("amd64", None).accepts(&platform("arm64", None)));
    }
}
