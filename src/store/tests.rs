//! What tests of the store begin with.

use std::path::Path;

use super::Store;
use crate::model::Digest;

/// A store, as it is after its first pull: one without the file of its lock has seen none.
pub(super) fn store(directory: &Path) -> Store {
    let store = Store::open(directory).unwrap();
    store.create().unwrap();
    drop(store.lock_shared().unwrap());
    store
}

/// A document of an image, as it is on disk.
pub(super) fn document(store: &Store, document: &serde_json::Value) -> Digest {
    let bytes = document.to_string();
    let digest = Digest::of(bytes.as_bytes());
    std::fs::write(store.blob_path(&digest), bytes).unwrap();
    digest
}

/// A layer, empty.
pub(super) fn layer(store: &Store, seed: &str) -> Digest {
    let layer = Digest::of(format!("layer of {seed}").as_bytes());
    std::fs::create_dir(store.layer_path(&layer)).unwrap();
    layer
}
