//! The service: wakes, makes a pass, sleeps; answers on D-Bus; writes the journal.
//!
//! [`run`] is the loop, [`pass`] puts the real edges together (for the daemon, and for
//! `updaterctl` where there is no service), [`bus`] is the D-Bus face, [`start`] the program.
//!
//! What must not live here: what a pass does ([`crate::update`]), what it decides
//! ([`crate::plan`]).

pub mod api;
pub mod bus;
pub mod flight;
pub mod journal;
pub mod observe;
pub mod pass;
pub mod request;
pub mod run;
pub mod schedule;
pub mod status;
mod units;
