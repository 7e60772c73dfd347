//! How a container is known, and how long it is kept.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::launch::lifecycle::name;

// How a container is known, and how long it is kept.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Name of the container; one is made up where there is none
    #[arg(long, value_parser = name::parse)]
    pub(crate) name: Option<String>,
    /// The pod that the container belongs to; "new:NAME" makes one
    #[arg(long, value_name = "NAME")]
    pub(crate) pod: Option<String>,
    /// The same, by a file with the pod's ID
    #[arg(long, value_name = "FILE", conflicts_with = "pod")]
    pub(crate) pod_id_file: Option<PathBuf>,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub(crate) label: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    #[serde(default)]
    pub(crate) label_file: Vec<PathBuf>,
    /// Tell the runtime, and its hooks, something
    #[arg(long, value_name = "KEY=VALUE")]
    #[serde(default)]
    pub(crate) annotation: Vec<String>,
    /// Write the container's ID to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// Stop and remove a container of the same name first
    #[arg(long)]
    pub(crate) replace: bool,
}
