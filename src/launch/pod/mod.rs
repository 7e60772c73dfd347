//! Pods: containers that share namespaces. A process that does nothing, the pod's infra, holds the
//! namespaces open; a supervisor waits for it, as the main process of the pod's unit.
//!
//! A pod has a definition ([`definition`]), kept with the images until it is removed, and while it
//! runs a state ([`store`]), which a reboot takes. Its members are containers whose record names it.

pub(crate) mod definition;
pub(crate) mod error;
pub(crate) mod infra;
pub(crate) mod filter;
pub(crate) mod join;
pub(crate) mod make;
pub(crate) mod members;
pub(crate) mod store;
pub(crate) mod supervise;
mod users;

pub(crate) use error::Error;
