//! Makes a pulled image visible: one flush, renames, one record.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::{Plan, Workspace};
use crate::disk;
use crate::store::layout::Descriptor;
use crate::store::{Error, Store};

/// Commits what the workspace holds. A crash anywhere before the record leaves at most layers and
/// blobs that are whole, and that the next pull uses.
pub(super) fn commit(store: &Store, workspace: &Workspace, plan: &Plan) -> Result<(), Error> {
    let index = plan.documents.index.iter().map(|index| (&index.digest, &index.bytes));
    let manifest = &plan.documents.manifest;
    let own = [(&manifest.digest, &manifest.bytes), (&plan.config_digest, &plan.config)];
    let mut blobs = Vec::new();
    for (digest, bytes) in index.chain(own) {
        if !store.blob_path(digest).exists() {
            let path = workspace.path().join(format!("blob-{}", digest.hex()));
            write(&path, bytes, plan.layers.is_empty())
                .map_err(|cause| Error::io("write", &path, cause))?;
            blobs.push((path, digest));
        }
    }
    if !plan.layers.is_empty() {
        flush(store)?;
    }
    for layer in &plan.layers {
        let from = workspace.path().join(layer.diff_id.hex());
        rename(&from, &store.layer_path(&layer.diff_id))?;
    }
    for (from, digest) in &blobs {
        rename(from, &store.blob_path(digest))?;
    }
    // Layers and blobs of another pull may be named but not flushed: their names count as well.
    for dir in ["layers/sha256", "images/blobs/sha256"] {
        let dir = store.root().join(dir);
        disk::sync_directory(&dir).map_err(|cause| Error::io("flush", &dir, cause))?;
    }
    let size = manifest.bytes.len() as u64;
    store.record(Descriptor::new(manifest.media_type.clone(), size, &plan.identity))
}

fn write(path: &Path, bytes: &[u8], flush: bool) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    if flush { file.sync_all() } else { Ok(()) }
}

/// Everything below the store at once: syncfs(2) instead of one fsync(2) for each of many
/// thousand files.
fn flush(store: &Store) -> Result<(), Error> {
    let flush = || -> io::Result<()> { Ok(rustix::fs::syncfs(File::open(store.root())?)?) };
    flush().map_err(|cause| Error::io("flush", store.root(), cause))
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(|cause| Error::io("write", to, cause))
}
