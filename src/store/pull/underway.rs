//! A pull between its first file and its commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::commit;
use crate::disk::Lock;
use crate::model::Digest;
use crate::store::workspace::Workspace;
use crate::store::{Store, seal};

/// What a pull has on disk, and its locks. Whoever lets go of it last keeps whole layers for the next
/// pull, and removes the rest. That may be millions of files: where a pull is given up, that is one
/// of the threads that were at work on its layers, for which the runtime waits when it is dropped.
#[derive(Debug)]
pub(super) struct Underway {
    store: Store,
    /// The diff IDs of the layers that are whole.
    done: Mutex<Vec<Digest>>,
    /// Something of a layer has come.
    begun: AtomicBool,
    // In this order: nothing is anybody else's before the rest is removed.
    pub(super) workspace: Workspace,
    _layer_locks: Vec<Lock>,
    _store_lock: Lock,
}

impl Underway {
    pub(super) fn new(
        store: &Store,
        workspace: Workspace,
        layer_locks: Vec<Lock>,
        store_lock: Lock,
    ) -> Self {
        Self {
            store: store.clone(),
            done: Mutex::default(),
            begun: AtomicBool::new(false),
            workspace,
            _layer_locks: layer_locks,
            _store_lock: store_lock,
        }
    }

    /// Something of a layer has come.
    pub(super) fn begins(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// A layer is unpacked as it should be: written down for who finds it, should this process be killed.
    pub(super) fn seal(&self, diff_id: &Digest) {
        if let Err(cause) = seal::write(self.workspace.path(), diff_id) {
            tracing::debug!(layer = %diff_id, %cause, "cannot seal, ignoring");
        }
    }

    /// A layer is whole.
    pub(super) fn done(&self, diff_id: &Digest) {
        self.whole().push(diff_id.clone());
    }

    /// No layer is to be kept.
    pub(super) fn forget(&self) {
        self.whole().clear();
    }

    fn whole(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        commit::keep(&self.store, self.workspace.path(), &self.whole());
        // Then the rest goes, piece by piece.
        let _ = seal::withdraw(self.workspace.path());
    }
}
