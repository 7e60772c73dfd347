//! Groups of flags that commands share, in Podman's words: what a user asked for, before anything is
//! looked up. The command line they stand in is [`super::command`]'s.

mod create;
mod environment;
mod health;
mod identity;
mod image;
mod isolation;
mod network;
mod platform;
mod process;
mod program;
mod resources;
mod service;
mod storage;
mod users;

pub(crate) use create::Create;
pub(crate) use environment::EnvironmentFlags;
pub(crate) use health::{Every, HealthFlags, OnFailure};
pub(crate) use identity::Identity;
pub(crate) use image::{ImageFlags, PullPolicy, RegistryFlags};
pub(crate) use isolation::IsolationFlags;
pub(crate) use network::{ExposeFlags, NetworkFlags};
pub(crate) use platform::PlatformFlags;
pub(crate) use process::ProcessFlags;
pub(crate) use program::ProgramFlags;
pub(crate) use resources::ResourceFlags;
pub(crate) use service::{LogDriver, SdNotify, ServiceFlags, Systemd};
pub(crate) use storage::{ImageVolume, StorageFlags};
pub(crate) use users::UserNamespaceFlags;
