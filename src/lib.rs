//! Containers that run in systemd units keep themselves up to date.
//!
//! The modules, in the order in which data flows; `docs/architecture.md` has the map. Arrows
//! between them point one way, and `tests/architecture.rs` holds them.

pub mod disk;
pub mod model;
pub mod config;
pub mod program;
pub mod plan;
pub mod update;
pub mod policy;
pub mod registry;
pub mod store;
pub mod engine;
pub mod systemd;
pub mod probe;
pub mod ledger;
pub mod daemon;
pub mod terminal;
pub mod ctl;
pub mod launch;

#[cfg(test)]
mod tests;
