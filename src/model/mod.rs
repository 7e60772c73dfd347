//! Nouns of the field: image reference, digest, platform, unit name, a cgroup's unit, container,
//! policy, failure.
//!
//! What must not live here: IO, clocks, async, decisions. Everything is a value that can be
//! compared, printed and written down.

#![deny(clippy::disallowed_methods)]

pub mod asker;
pub mod cgroup;
pub mod container;
pub mod digest;
pub mod failure;
pub mod group;
pub mod health;
pub mod image;
pub mod label;
pub mod min_free;
pub mod outcome;
pub mod platform;
pub mod policy;
pub mod probe;
pub mod proxy;
pub mod reference;
pub mod rollback;
pub mod scope;
pub mod unit;

pub use asker::{Asker, Asking};
pub use container::{Bystander, Container, ContainerId, EngineKind};
pub use digest::Digest;
pub use failure::{Failure, FailureKind};
pub use group::{Group, InvalidGroup};
pub use health::HealthState;
pub use image::{ImageIdentity, ImageSource};
pub use min_free::MinFree;
pub use outcome::OutcomeKind;
pub use platform::Platform;
pub use policy::Policy;
pub use probe::Probe;
pub use proxy::{InvalidProxy, Proxy};
pub use reference::{InvalidReference, Reference};
pub use rollback::Rollback;
pub use scope::Scope;
pub use unit::UnitName;
