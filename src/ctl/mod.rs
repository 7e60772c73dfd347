//! `updaterctl`: what an operator types.
//!
//! [`args`] is the command line, [`remote`] the service on the bus, [`access`] the choice between
//! it and this very process, [`command`] one file for each command, [`crate::terminal`] what fits a
//! terminal. What must not live here: anything the library cannot do without a terminal.

pub mod access;
pub mod args;
pub mod command;
pub mod exit;
pub mod here;
pub mod manual;
pub mod progress;
pub mod remote;

mod error;

pub use error::Error;
