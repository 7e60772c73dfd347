//! Edge: systemd. The manager over D-Bus, with a bus or without; what the service tells its manager.
//!
//! What must not live here: which unit is restarted, and what its state means.

mod environment_file;
mod error;
pub mod inhibit;
mod job_log;
mod jobs;
pub mod journal;
mod link;
mod manager;
pub mod notify;
pub mod private;
mod proxy;
mod restarts;
mod unit;
pub mod unit_files;
mod words;

pub use error::Error;
pub use manager::Manager;

#[cfg(test)]
mod tests;
