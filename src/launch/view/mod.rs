//! Containers and images as Podman's documents and lists show them: its field names, its words for
//! times, sizes and states.
//!
//! What must not live here: printing, flags, changes.

pub(crate) mod container;
pub(crate) mod filter;
mod host_config;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod row;
pub(crate) mod words;
