//! What a container finds in its file system besides its image.

use clap::Args;
use serde::{Deserialize, Serialize};

/// What a container finds in its file system besides its image.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct StorageFlags {
    /// Bind a directory or file of the host: rprivate, nosuid, nodev, unless its options say suid, dev
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]")]
    pub(crate) volume: Vec<String>,
    /// Mount a tmpfs; it begins with what the image has there, unless its options say notmpcopyup
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub(crate) tmpfs: Vec<String>,
    /// Mount the container's root file system read-only, but for a tmpfs on /run, /tmp, /var/tmp and
    /// for the image's volumes
    #[arg(long)]
    pub(crate) read_only: bool,
}
