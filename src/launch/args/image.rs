//! Where an image comes from, and when.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::launch::args::PlatformFlags;

// When the image is brought here, and how.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ImageFlags {
    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(crate) pull: PullPolicy,
    /// Do not say that an image is pulled
    #[arg(short, long)]
    #[serde(default)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    #[serde(default)]
    pub(crate) platform: PlatformFlags,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
}

// How registries are spoken to.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct RegistryFlags {
    /// File with credentials (containers-auth.json(5))
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Whether a registry must prove who it is
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PullPolicy {
    /// Where the registry has another image, or there is none here
    Always,
    /// Where there is none here
    Missing,
    Never,
    /// As always, but an image that is here will do where the registry cannot be reached
    Newer,
}
