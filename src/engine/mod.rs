//! The edge to container engines: what runs, from which image, and how images are put in place.
//!
//! What must not live here: choices (`crate::plan`), restarts (`crate::systemd`).

mod any;
pub mod native;
pub mod podman;

pub use any::Any;
pub use native::Native;
pub use podman::Podman;
