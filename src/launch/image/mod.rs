//! Images in local storage, by the names people give them: finding them, removing them.
//!
//! What must not live here: registries, flags, printing.

pub(crate) mod find;
pub(crate) mod name;
pub(crate) mod remove;
