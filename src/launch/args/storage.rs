//! What a container finds in its file system besides its image.

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};

// What a container finds in its file system besides its image.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct StorageFlags {
    /// Bind a directory or file of the host, a named volume, or, without a source, an anonymous one:
    /// rprivate, nosuid, nodev, unless its options say otherwise (ro, z, Z, U, O, nocopy,
    /// idmap=uids=…;gids=…, slave, shared, suid, dev, noexec)
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub(crate) volume: Vec<String>,
    /// Mount by keys: type=bind|tmpfs|volume|image,source=…,target=…
    #[arg(long, value_name = "TYPE,KEY[=VALUE]…")]
    #[serde(default)]
    pub(crate) mount: Vec<String>,
    /// Mount a tmpfs; it begins with what the image has there, unless its options say notmpcopyup
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub(crate) tmpfs: Vec<String>,
    /// Mount the volumes of another container, too
    #[arg(long, value_name = "CONTAINER[:OPTIONS]")]
    #[serde(default)]
    pub(crate) volumes_from: Vec<String>,
    /// What the volumes that the image declares become
    #[arg(long, value_name = "HOW", default_value = "anonymous")]
    #[serde(default)]
    pub(crate) image_volume: ImageVolume,
    /// Give a device of the host, or all in a directory; permissions are letters of rwm
    #[arg(long, value_name = "HOST[:CONTAINER][:PERMISSIONS]")]
    #[serde(default)]
    pub(crate) device: Vec<String>,
    /// Give a secret: as a file of its user alone below /run/secrets, or with type=env as a variable
    #[arg(long, value_name = "NAME[,KEY=VALUE…]")]
    #[serde(default)]
    pub(crate) secret: Vec<String>,
    /// Size of /dev/shm, such as 64m; 0 is no limit
    #[arg(long, value_name = "SIZE")]
    #[serde(default)]
    pub(crate) shm_size: Option<String>,
    /// Mount the container's root file system read-only, but for a tmpfs on /run, /tmp, /var/tmp and
    /// for volumes
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Whether a read-only container has those; with false, /dev and /dev/shm are read-only, too
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true"
    )]
    #[serde(default = "yes")]
    pub(crate) read_only_tmpfs: bool,
}

fn yes() -> bool {
    true
}

/// What the volumes that an image declares become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ImageVolume {
    /// Volumes without a name, which go with the container's --rm or rm --volumes
    #[default]
    #[value(alias = "bind")]
    Anonymous,
    /// Memory, which goes with the container's end
    Tmpfs,
    /// Nothing
    Ignore,
}
