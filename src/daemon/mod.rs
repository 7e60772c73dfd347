//! The service: wakes, makes a pass, sleeps; answers on D-Bus; writes the journal.
//!
//! [`run`] is the loop, [`pass`] the operations it offers (for the daemon, and for
//! `updaterctl` where there is no service), [`host`] the real edges behind them, [`bus`] the D-Bus
//! face, [`start`] the program.
//!
//! What must not live here: what a pass does ([`crate::update`]), what it decides
//! ([`crate::plan`]).

pub mod api;
pub mod args;
pub mod bus;
mod face;
pub mod facts;
pub mod flight;
pub mod host;
mod hosts;
pub mod journal;
pub mod manual;
mod mortal;
pub mod notify;
pub mod observe;
pub mod pass;
mod presence;
pub mod registries;
pub mod request;
pub mod run;
pub mod schedule;
pub mod start;
mod units;
pub mod writable;
