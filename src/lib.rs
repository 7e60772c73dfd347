//! Containers that run in systemd units keep themselves up to date.
//!
//! The modules, in the order in which data flows; `docs/architecture.md` has the map. Arrows
//! between them point one way, and `tests/architecture.rs` holds them.

pub mod config;
pub mod ctl;
pub mod daemon;
pub mod engine;
pub mod launch;
pub mod ledger;
#![allow(clippy::disallowed_methods, reason = "denied again in the pure rooms, model and plan")]

pub mod model;
pub mod plan;
pub mod registry;
pub mod store;
pub mod systemd;
pub mod update;
