//! What a program in a container begins with: its environment, its user, its descriptors.

pub(crate) mod activation;
pub(crate) mod defaults;
pub(crate) mod environment;
pub(crate) mod systemd;
pub(crate) mod user;
