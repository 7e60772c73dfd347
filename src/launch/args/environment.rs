//! What a container's environment takes from its image and from the launcher's, unless it is set.

use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

// What a container's environment takes from its image and from the launcher's, unless it is set.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EnvironmentFlags {
    /// Pass the launcher's whole environment on; what the image sets wins over it
    #[arg(long)]
    pub(crate) env_host: bool,
    /// Set a variable to a text in which $NAME is the image's value
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env_merge: Vec<String>,
    /// Whether the launcher's http_proxy, https_proxy, ftp_proxy and no_proxy are passed on
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) http_proxy: bool,
    /// Leave out a variable that the image sets
    #[arg(long, value_name = "NAME")]
    pub(crate) unsetenv: Vec<String>,
    /// Leave out all variables that the image sets
    #[arg(long)]
    pub(crate) unsetenv_all: bool,
    /// `NAME=VALUE` of the launcher's environment, kept for the next start: what the image wins over.
    #[arg(skip)]
    pub(crate) host: Vec<String>,
}

impl Default for EnvironmentFlags {
    fn default() -> Self {
        Self {
            env_host: false,
            env_merge: Vec::new(),
            http_proxy: true,
            unsetenv: Vec::new(),
            unsetenv_all: false,
            host: Vec::new(),
        }
    }
}
