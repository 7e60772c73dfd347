//! Makes a pulled image visible: one flush, renames, one record.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::Plan;
use crate::crash::{Effect, around_call};
use crate::disk;
use crate::model::{Digest, Failure};
use crate::store::layout::Descriptor;
use crate::store::workspace::Workspace;
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
        store.flush()?;
    }
    name_layers(store, workspace.path(), plan.layers.iter().map(|layer| &layer.diff_id))?;
    for (from, digest) in &blobs {
        rename(from, &store.blob_path(digest))?;
    }
    // Layers and blobs of another pull may be named but not flushed: their names count as well.
    for dir in ["layers/sha256", "images/blobs/sha256"] {
        let dir = store.root().join(dir);
        disk::sync_directory(&dir).map_err(|cause| Error::io("flush", &dir, cause))?;
    }
    let size = manifest.bytes.len() as u64;
    let image = Descriptor::new(manifest.media_type.clone(), size, &plan.identity);
    around_call(Effect::CommitPull, || store.record(image))
}

/// Keeps layers, verified, of a pull that has not come to its commit: their locks are the caller's. A failure
/// of this costs no more than fetching them again.
pub(in crate::store) fn keep(store: &Store, work: &Path, diff_ids: &[Digest]) {
    if diff_ids.is_empty() {
        return;
    }
    let dir = store.root().join("layers/sha256");
    let kept = store
        .flush()
        .and_then(|()| name_layers(store, work, diff_ids.iter()))
        .and_then(|()| disk::sync_directory(&dir).map_err(|cause| Error::io("flush", &dir, cause)));
    if let Err(error) = kept {
        let cause = Failure::from(error);
        tracing::debug!(%cause, "cannot keep the layers of a failed pull, ignoring");
    }
}

/// Gives layers that are on disk their names, where they have none.
fn name_layers<'a>(
    store: &Store,
    work: &Path,
    diff_ids: impl Iterator<Item = &'a Digest>,
) -> Result<(), Error> {
    for diff_id in diff_ids {
        let to = store.layer_path(diff_id);
        if !to.is_dir() {
            rename(&work.join(diff_id.hex()), &to)?;
            store.seal(work, diff_id);
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8], flush: bool) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    if flush { file.sync_all() } else { Ok(()) }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(|cause| Error::io("write", to, cause))
}
