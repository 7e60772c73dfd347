//! The pipeline of one pass over ports: discover, check, plan, stage, promote, restart, verify,
//! commit or roll back, record.
//!
//! What must not live here: any call to a registry, a store, systemd or a disk but through
//! [`port`]; any choice that [`crate::plan`] can make.

pub mod port;
