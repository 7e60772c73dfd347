//! What every room wants of a disk: small files that are replaced whole, locks between processes,
//! and trees that are gone through or go away, whatever they hold.
//!
//! What must not live here: what is in a file, and what an error of it means.

#[cfg(test)]
pub(crate) mod fault;
mod file;
mod lock;
mod tree;
mod walk;

pub use file::{
    append_line, cut, is_absent, link_within, make_private, read, remove, rename_within, replace,
    sync_directory,
};
pub use lock::{Lock, Mode, is_at, lock, try_lock};
pub use tree::{remove_tree, remove_tree_at, remove_tree_while};
pub use walk::{Entry, usage, walk};
