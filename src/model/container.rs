//! A running container, as an engine reports it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::InvalidPolicy;
use super::{Digest, ImageIdentity, ImageSource, Policy, Reference, UnitName};

/// 64 hexadecimal digits that name a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// Why a text is no container ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a container ID: expected 64 lower-case hexadecimal digits")]
pub struct InvalidContainerId(pub String);

impl ContainerId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, as tables show it.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = InvalidContainerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(lower_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidContainerId(text.chars().take(100).collect()))
        }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidContainerId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

/// Which container engine runs a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// `updater-launch` and the project's own store.
    Native,
    Podman,
}

impl EngineKind {
    /// Whether a unit can be given an image without moving the tag, which all others follow too.
    pub fn has_bindings(self) -> bool {
        match self {
            Self::Native => true,
            Self::Podman => false,
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Podman => "Podman",
        })
    }
}

/// A running container that carries the label `io.containers.autoupdate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub id: ContainerId,
    pub name: String,
    pub engine: EngineKind,
    /// The unit whose cgroup really holds the container; `None` where no unit does, or one that is
    /// not there for it.
    pub unit: Option<UnitName>,
    /// The owning unit that the container's label claims, where it is not believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
    /// The unit that the container is only a guest in: a process of it left the container behind,
    /// and goes on.
    #[serde(default)]
    pub guest_of: Option<UnitName>,
    /// The policy, or the label's value that names none.
    #[serde(with = "policy_or_text")]
    pub policy: Result<Policy, InvalidPolicy>,
    /// The group that its label names, as it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub source: ImageSource,
    /// The image the container was created from.
    pub image: ImageIdentity,
    /// Further digests by which the engine knows that image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<Digest>,
    pub created: Timestamp,
}

/// A running container without the update label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bystander {
    pub name: String,
    pub engine: EngineKind,
    pub reference: Reference,
}

impl Container {
    /// Whether it was created from the image with this digest, of an index or a manifest.
    pub fn runs(&self, digest: &Digest) -> bool {
        [&self.image.target, &self.image.manifest].contains(&digest)
            || self.digests.contains(digest)
    }
}

/// A policy is written as its word; an invalid label value as it stood.
mod policy_or_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{InvalidPolicy, Policy};

    pub(super) fn serialize<S: Serializer>(
        policy: &Result<Policy, InvalidPolicy>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match policy {
            Ok(policy) => serializer.collect_str(policy),
            Err(InvalidPolicy(text)) => serializer.serialize_str(text),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Result<Policy, InvalidPolicy>, D::Error> {
        Ok(Policy::from_label(&String::deserialize(deserializer)?))
    }
}
