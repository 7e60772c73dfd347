//! A layer that is whole: a small file says so, beside it while its pull goes on, and in `seals/HEX` once it
//! has its name.
//!
//! First it is for whoever finds the work of a process that was killed ([`Store::bury`]): the kernel has
//! all that the process wrote, as long as it runs. So it counts on the same boot only: after a power cut,
//! nobody knows what of a layer without a name is on the disk.
//!
//! Then it is for `image check`. It gets its name after the layer, so that all changes to files of the layer
//! are older than its own last one, the renaming (inode(7), `ctime`, which no program can set). What
//! is newer, somebody has written to since. That costs a pull nothing, and of what is in the files
//! it says nothing.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use super::listing::{self, entries};
use super::{Error, Store, unpack};
use crate::disk;
use crate::model::Digest;

/// What a seal is called beside a layer that has no name yet.
const BESIDE: &str = "whole-";
/// The largest seal read, in bytes.
const MAX_SEAL: u64 = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Seal {
    /// The kernel's ID of this boot (proc_sys_kernel(5)); `None` where it is hidden, as it is from the service.
    boot: Option<String>,
    /// The layer's directory: a copy of a store, whose files are all new, has others.
    inode: u64,
}

/// What was changed of a layer since it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The first, from the layer's directory; that itself is `.`.
    pub path: String,
    pub files: u64,
}

/// Says beside the layer in `work` that it is whole.
///
/// # Errors
/// Whatever the file system says.
pub(super) fn write(work: &Path, diff_id: &Digest) -> io::Result<()> {
    let inode = std::fs::metadata(work.join(diff_id.hex()))?.ino();
    let seal = serde_json::to_vec(&Seal { boot: boot(), inode })?;
    std::fs::write(beside(work, diff_id), seal)
}

/// Takes back what is said in `work`, before anything of its layers goes.
pub(super) fn withdraw(work: &Path) -> io::Result<()> {
    for (path, _) in said_in(work) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// The layers in `work` that a process of this boot has finished.
pub(super) fn whole_in(work: &Path) -> Vec<Digest> {
    let Some(boot) = boot() else { return Vec::new() };
    let is_whole = |(path, layer): (PathBuf, Digest)| {
        let seal = read(&path).ok().flatten()?;
        let inode = std::fs::metadata(work.join(layer.hex())).ok()?.ino();
        (seal.boot.as_ref() == Some(&boot) && seal.inode == inode).then_some(layer)
    };
    said_in(work).into_iter().filter_map(is_whole).collect()
}

fn said_in(work: &Path) -> Vec<(PathBuf, Digest)> {
    let said = |path: PathBuf| {
        let hex = path.file_name()?.to_str()?.strip_prefix(BESIDE)?;
        let layer = listing::digest(Path::new(hex))?;
        Some((path, layer))
    };
    entries(work).unwrap_or_default().into_iter().filter_map(said).collect()
}

fn beside(work: &Path, diff_id: &Digest) -> PathBuf {
    work.join(format!("{BESIDE}{}", diff_id.hex()))
}

fn read(path: &Path) -> io::Result<Option<Seal>> {
    let bytes = disk::read(path, MAX_SEAL)?;
    // Half of one says nothing.
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

impl Store {
    /// Seals a layer that has just got its name. One without a seal is as good, but for what can be told of it.
    pub(super) fn seal(&self, work: &Path, diff_id: &Digest) {
        let to = self.seal_path(diff_id);
        if let Err(cause) = std::fs::rename(beside(work, diff_id), &to) {
            tracing::debug!(layer = %diff_id, %cause, "cannot seal, ignoring");
        }
    }

    fn seal_path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("seals").join(diff_id.hex())
    }

    /// What was changed of a layer since it got its name; nothing where that cannot be told.
    ///
    /// # Errors
    /// Where the layer cannot be read.
    pub(super) fn changed(&self, diff_id: &Digest) -> Result<Option<Changed>, Error> {
        let (layer, seal) = (self.layer_path(diff_id), self.seal_path(diff_id));
        let failed = |cause| Error::read(&layer, cause);
        let Some(sealed) = read(&seal).map_err(|cause| Error::read(&seal, cause))? else {
            return Ok(None);
        };
        let opened = unpack::open_root(&layer);
        let (top, status) = match (opened, std::fs::symlink_metadata(&seal)) {
            // Removed meanwhile.
            (Err(cause), _) | (_, Err(cause)) if disk::is_absent(&cause) => return Ok(None),
            (top, status) => (top.map_err(failed)?, status.map_err(failed)?),
        };
        let own = rustix::fs::fstat(&top).map_err(|cause| failed(cause.into()))?;
        if own.st_ino != sealed.inode {
            return Ok(None);
        }
        let at = (status.ctime(), status.ctime_nsec());
        let mut changed = (last_change(&own) > at).then(|| Changed { path: ".".into(), files: 1 });
        disk::walk::<io::Error>(top, &mut |entry| {
            if last_change(&entry.stat) > at {
                let path = || String::from_utf8_lossy(entry.path).into_owned();
                changed.get_or_insert_with(|| Changed { path: path(), files: 0 }).files += 1;
            }
            Ok(true)
        })
        .map_err(failed)?;
        Ok(changed)
    }
}

/// In seconds and nanoseconds.
fn last_change(status: &Stat) -> (i64, i64) {
    (status.st_ctime, status.st_ctime_nsec.cast_signed())
}
