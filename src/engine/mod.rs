//! The edge to container engines: what runs, from which image, and how images are put in place.
//!
//! What must not live here: choices (`crate::plan`), restarts (`crate::systemd`).

pub mod native;

pub use native::Native;
