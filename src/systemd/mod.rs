//! Edge: systemd. The manager over D-Bus, the unit of a cgroup, what the service tells its manager.
//!
//! What must not live here: which unit is restarted, and what its state means.

pub mod cgroup;
mod error;
pub mod inhibit;
mod jobs;
mod manager;
pub mod notify;
mod proxy;

pub use cgroup::unit_of_cgroup;
pub use error::Error;
pub use manager::Manager;

#[cfg(test)]
mod tests;
