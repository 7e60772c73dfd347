//! What every room wants of a disk: small files that are replaced whole, and trees that go away,
//! whatever they hold.
//!
//! What must not live here: what is in a file, and what an error of it means.

mod file;
mod tree;

pub use file::{make_private, read, remove, replace, sync_directory};
pub use tree::{remove_tree, remove_tree_at};
