//! Images on disk: an OCI image layout, unpacked layers, bindings of units to images, and the
//! records of containers. The choices behind it: `docs/decisions/0003-store.md`.
//!
//! What must not live here: requests to registries (see [`pull::Remote`]), choices of when to
//! update, mounts.
//!
//! ```text
//! ROOT/images/            OCI image layout (image-spec, `image-layout.md`), without layer blobs
//! ROOT/layers/sha256/HEX/ one directory for each layer, named by diff ID, an overlay lowerdir
//! ROOT/mapped/KEY/HEX/     copies of layers under other owners, for containers of ordinary users
//! ROOT/bindings/UNIT      JSON: reference -> manifest digest
//! ROOT/kept/UNIT          JSON: reference -> manifest digests that the unit may go back to
//! ROOT/pulled.json        JSON: the images that updaterd pulled itself, into any engine's storage
//! ROOT/needed.json        JSON: engine -> what images take that have to stay, for `disk_budget`
//! ROOT/shelves.json       JSON: name that keeps images of Podman's -> unit that it is of
//! ROOT/containers/ID/     what a container is made from and writes (`launch` has it, `pins` reads it)
//! ROOT/seals/HEX          JSON: since when a layer is as it is
//! ROOT/held/RANDOM/HEX    images that a process has stay, as long as it lives
//! ROOT/tmp/RANDOM/        work in progress, and of processes that died; what is being deleted
//! ROOT/locks/             files for flock(2)
//! ```
//!
//! Architecture invariants: a directory below `layers/` is complete and on disk from the moment
//! it has its name; an image exists from the moment `index.json` names it; `index.json` and the
//! bindings are replaced by rename(2) under a lock, so that reading them needs none.

use std::path::{Path, PathBuf};

mod bindings;
mod bury;
mod check;
pub mod containers;
mod erase;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod health;
mod hold;
mod image;
mod kept;
mod layout;
mod listing;
mod lock;
mod mapped;
mod note;
mod pins;
pub mod pull;
mod pulled;
mod remove;
mod seal;
mod shelves;
#[cfg(test)]
mod tests;
pub mod unpack;
mod usage;
mod weight;
mod workspace;

pub use check::{Checked, Flaw, Missing};
pub use erase::{Awaited, Brake};
pub use error::Error;
pub use hold::{Held, Holder};
pub use image::Image;
pub use pins::is_lost;
pub use pulled::Pulled;
pub use remove::{Retirement, Which};
pub use seal::Changed;
pub use usage::Usage;
pub use workspace::Workspace;

use crate::disk;
use crate::model::Digest;

/// An image store below one directory. Cheap to open; any number of processes may have it open.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root` without touching the disk: what is not there yet reads as empty,
    /// and is made by the first pull.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(root).map_err(|cause| Error::io("find", root, cause))?;
        Ok(Self { root })
    }

    /// Makes the store's directories, for their owner only, where they are not there.
    fn create(&self) -> Result<(), Error> {
        for dir in ["", "images/blobs/sha256", "layers/sha256", "seals", "bindings", "tmp", "locks"]
        {
            let path = self.root.join(dir);
            disk::make_private(&path).map_err(|cause| Error::io("create", &path, cause))?;
        }
        self.create_layout()
    }

    /// Everything below the store at once: syncfs(2) instead of one fsync(2) for each of many
    /// thousand files.
    fn flush(&self) -> Result<(), Error> {
        let flush =
            || -> std::io::Result<()> { Ok(rustix::fs::syncfs(std::fs::File::open(&self.root)?)?) };
        flush().map_err(|cause| Error::io("flush", &self.root, cause))
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("layers/sha256").join(diff_id.hex())
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("images/blobs/sha256").join(digest.hex())
    }
}
