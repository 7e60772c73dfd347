//! Images in files: written ([`save`]) and read ([`load`]), as Docker's archives and OCI's.
//!
//! What must not live here: how layers are unpacked and verified (see `store::pull`).

pub(crate) mod load;
pub(crate) mod save;

use std::io;
use std::path::PathBuf;

/// What can be wrong with an archive of images.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("this is no archive of images: there is neither manifest.json nor index.json in it")]
    Unknown,
    #[error("the archive's {0} cannot be read")]
    Open(String, #[source] io::Error),
    #[error("the archive's {0} is not what it should be")]
    Form(String, #[source] serde_json::Error),
    #[error("the archive has an image of {0} layers, and {1} can be stacked")]
    Layers(usize, usize),
    #[error("the archive has no image in it")]
    Empty,
    #[error("one image at a time, but with --format=docker-archive and --multi-image-archive")]
    Several,
    #[error("standard output is a terminal: name a file by --output")]
    Terminal,
    #[error("--format=oci-dir needs a directory that is not there yet, by --output: {path} is", path = .0.display())]
    Exists(PathBuf),
    #[error("--format=oci-dir needs a directory by --output")]
    NoDirectory,
}
