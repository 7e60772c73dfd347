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

    /// The platform this program runs on, as far as it can be told from `cpuinfo`, the text of
    /// `/proc/cpuinfo`: a program for 32-bit ARM runs on processors of several variants.
    pub fn running(cpuinfo: &str) -> Self {
        let host = Self::host();
        match arm_variant(cpuinfo) {
            Some(variant) if host.architecture == "arm" => {
                Self { variant: Some(variant.to_owned()), ..host }
            }
            _ => host,
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

/// What Linux says of a processor for 32-bit ARM.
fn arm_variant(cpuinfo: &str) -> Option<&'static str> {
    let field = |name: &str| {
        let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    };
    // The first Raspberry Pi says 7 of itself, and is none.
    let old = |name| field(name).is_some_and(|text| text.starts_with("ARMv6"));
    if old("model name") || old("Processor") {
        return Some("v6");
    }
    match field("CPU architecture")?.as_bytes() {
        // A 64-bit processor runs 32-bit programs as the newest of those.
        [b'7' | b'8', ..] | b"AArch64" => Some("v7"),
        [b'6', ..] => Some("v6"),
        [b'5', ..] => Some("v5"),
        _ => None,
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

    #[test]
    fn the_processor_tells_its_variant() {
        for (cpuinfo, variant) in [
            ("processor\t: 0\nCPU architecture: 7\n", Some("v7")),
            (
                "model name\t: ARMv6-compatible processor rev 7 (v6l)\nCPU architecture: 7",
                Some("v6"),
            ),
            ("CPU architecture\t: 5TEJ", Some("v5")),
            ("CPU architecture: 8", Some("v7")),
            ("CPU architecture: AArch64", Some("v7")),
            ("model name\t: some other", None),
            ("", None),
        ] {
            assert_eq!(arm_variant(cpuinfo), variant, "{cpuinfo}");
        }
    }
}
