//! What runs in a container, as whom and with which environment.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::launch::process::umask;

// What runs in a container, as whom and with which environment.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct ProgramFlags {
    /// Set an environment variable, or pass one on
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// User, and group, to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// What runs instead of the image's entrypoint; a JSON list for several words
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// Add a group of the image, by name or number; "keep-groups" are the launcher's
    #[arg(long, value_name = "GROUP")]
    #[serde(default)]
    pub(crate) group_add: Vec<String>,
    /// Umask of the container's programs, instead of 0022
    #[arg(long, value_name = "MASK", value_parser = umask::parse)]
    #[serde(default)]
    pub(crate) umask: Option<u32>,
    /// Time zone, such as Europe/Berlin; "local" is the host's
    #[arg(long, visible_alias = "timezone", value_name = "ZONE")]
    #[serde(default)]
    pub(crate) tz: Option<String>,
}
