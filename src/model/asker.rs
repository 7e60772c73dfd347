//! Containers whose start asks the registry by itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::UnitName;

/// A container that gets at each start what the registry has, whatever its tag stands for here: an
/// update that fails cannot be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    pub unit: UnitName,
    pub container: String,
    pub how: Asking,
}

/// What has it ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asking {
    /// `--pull` with this value.
    Pull(String),
    /// `podman kube play`, whose YAML does not say that it shall not.
    KubePlay,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.container;
        let (how, instead) = match &self.how {
            Asking::Pull(policy) => (
                format!("is started with --pull={policy}"),
                "leave the flag out, and the image is pulled before each update",
            ),
            Asking::KubePlay => (
                "is made by \"kube play\"".to_owned(),
                "give it imagePullPolicy: IfNotPresent in its YAML",
            ),
        };
        write!(
            f,
            "container {name} {how}, which asks the registry at each start: an update that fails \
             cannot be taken back as long as the registry has the image; {instead}"
        )
    }
}
