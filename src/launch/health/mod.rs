//! Health checks: programs that run in a container from time to time and say whether it does what it
//! is there for (podman-run(1), `--health-cmd`).
//!
//! What is asked for ([`plan`]) and what results mean ([`state`]) is pure. The supervisor carries it
//! out ([`monitor`]): each check is a child process of its own, so that it never waits.

pub(crate) mod command;
pub(crate) mod duration;
pub(crate) mod image;
pub(crate) mod monitor;
pub(crate) mod plan;
pub(crate) mod state;
