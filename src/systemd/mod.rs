//! Edge: systemd. The manager over D-Bus, what the service tells its manager.
//!
//! What must not live here: which unit is restarted, and what its state means.

mod error;
pub mod inhibit;
mod jobs;
mod manager;
pub mod notify;
mod proxy;

pub use error::Error;
pub use manager::Manager;

#[cfg(test)]
mod tests;
