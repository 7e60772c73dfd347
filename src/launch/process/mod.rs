//! What a program in a container begins with: its environment, its user, its descriptors.

pub(crate) mod activation;
pub(crate) mod attributes;
pub(crate) mod defaults;
pub(crate) mod entries;
pub(crate) mod environment;
pub(crate) mod systemd;
pub(crate) mod time_zone;
pub(crate) mod umask;
pub(crate) mod init;
pub(crate) mod user;
