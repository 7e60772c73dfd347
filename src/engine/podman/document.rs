//! Podman's JSON documents, as far as they are read: what is missing in an older or newer Podman is
//! empty here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// A row of `podman ps --format json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    pub(super) id: String,
    /// The name of the image it was created from.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) image: String,
    /// The ID of that image.
    #[serde(default, rename = "ImageID", deserialize_with = "or_default")]
    pub(super) image_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) names: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    /// The pod's ID; empty where it is in none.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) pod: String,
    #[serde(default)]
    pub(super) is_infra: bool,
}

/// `podman container inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created: Timestamp,
    /// The image's ID.
    pub(super) image: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) image_name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) pod: String,
    #[serde(default)]
    pub(super) is_infra: bool,
    #[serde(default)]
    pub(super) restart_count: u32,
    pub(super) state: State,
    pub(super) config: Config,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    #[serde(default)]
    pub(super) pid: u32,
    #[serde(default)]
    pub(super) conmon_pid: u32,
    /// Podman 3 has another name for it.
    #[serde(default, alias = "Healthcheck", deserialize_with = "or_default")]
    pub(super) health: Health,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Health {
    /// Empty where nobody checks.
    pub(super) status: String,
    #[serde(deserialize_with = "at_least_nothing")]
    pub(super) failing_streak: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) healthcheck: Option<Healthcheck>,
    /// The command line that made it; none where `kube play` did.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) create_command: Vec<String>,
}

/// Times in nanoseconds. Podman takes them out of an image's configuration as they are: some are below
/// nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Healthcheck {
    #[serde(deserialize_with = "at_least_nothing")]
    pub(super) start_period: u64,
    #[serde(deserialize_with = "at_least_nothing")]
    pub(super) interval: u64,
    #[serde(deserialize_with = "at_least_nothing")]
    pub(super) timeout: u64,
    #[serde(deserialize_with = "at_least_nothing")]
    pub(super) retries: u32,
}

/// `podman image inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    pub(super) id: String,
    /// The manifest's, or the index's where it was pulled through one.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) digest: String,
    /// `REPOSITORY@DIGEST`, for each name and each digest; none for an image without names.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) repo_digests: Vec<String>,
    /// `REPOSITORY:TAG`, for each name.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) repo_tags: Vec<String>,
    pub(super) architecture: String,
    pub(super) os: String,
    #[serde(default)]
    pub(super) variant: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default, rename = "RootFS", deserialize_with = "or_default")]
    pub(super) root_fs: RootFs,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RootFs {
    /// Diff IDs, bottom first.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) layers: Vec<String>,
}

/// `podman info --format json`.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) store: Storage,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Storage {
    pub(super) graph_root: PathBuf,
}

/// A row of `podman images --format json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
    /// With tags and with digests.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) names: Vec<String>,
    /// One of its digests.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) digest: String,
    /// `REPOSITORY@DIGEST`.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) repo_digests: Vec<String>,
    /// All of its layers together, in bytes.
    #[serde(default, deserialize_with = "at_least_nothing")]
    pub(super) size: u64,
    /// How many containers are made from it, running or not.
    #[serde(default, deserialize_with = "at_least_nothing")]
    pub(super) containers: u64,
}

/// Go's numbers have a sign.
fn at_least_nothing<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + TryFrom<u64>,
{
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    let number = number.and_then(|number| number.as_u64());
    Ok(number.and_then(|number| T::try_from(number).ok()).unwrap_or_default())
}

/// `null` is how Go writes what is empty.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
