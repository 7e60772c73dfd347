//! The command line of `updater-launch`, in Podman's words. A flag that is not here is refused.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::launch::command;

mod create;
mod health;
mod identity;
mod image;
mod isolation;
mod network;
mod process;
mod program;
mod resources;
mod service;
mod storage;
mod users;

pub(crate) use create::Create;
pub(crate) use health::{Every, HealthFlags, OnFailure};
pub(crate) use identity::Identity;
pub(crate) use image::{ImageFlags, PullPolicy, RegistryFlags};
pub(crate) use isolation::IsolationFlags;
pub(crate) use network::NetworkFlags;
pub(crate) use process::ProcessFlags;
pub(crate) use program::ProgramFlags;
pub(crate) use resources::ResourceFlags;
pub(crate) use service::{LogDriver, SdNotify, ServiceFlags, Systemd};
pub(crate) use storage::{ImageVolume, StorageFlags};
pub(crate) use users::UserNamespaceFlags;

const EXAMPLES: &str = "\
Examples:
  In a unit, with Type=notify, Delegate=yes, KillMode=mixed:
    ExecStart=updater-launch run --rm --replace --name %N --publish 8080:80 \\
              --label io.containers.autoupdate=registry registry.example/app:1
  By hand:
    updater-launch ps
    updater-launch exec app sh -c 'id; ps'
    updater-launch logs --follow app

Exit status of run and exec: that of the container; 125 where this program failed, 126 where the
command cannot be executed, 127 where it is not found, 128+N where signal N ended it.";

/// Runs containers as children of their unit's main process.
#[derive(Debug, Parser)]
#[command(
    name = "updater-launch",
    version,
    after_help = EXAMPLES,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Arguments {
    /// Where images and containers' files are kept, instead of /var/lib/updaterd or, for a user,
    /// $XDG_DATA_HOME/updaterd
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) root: Option<PathBuf>,
    /// Where running state is kept, instead of /run/updaterd or, for a user,
    /// $XDG_RUNTIME_DIR/updaterd
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) runroot: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command in a new container
    Run(Box<command::run::Run>),
    /// Make a container, to be started later
    Create(Box<command::create::Flags>),
    /// Start containers that were made, or have ended
    Start(command::start::Start),
    /// Stop containers: their stop signal, then SIGKILL after a timeout
    Stop(command::stop::Stop),
    /// Attach to a container that runs
    Attach(command::attach::Attach),
    /// Send a signal to containers
    Kill(command::kill::Kill),
    /// Stop containers, and start them again
    Restart(command::restart::Restart),
    /// Wait for the end of containers, and print their exit statuses
    Wait(command::wait::Wait),
    /// Freeze all processes of containers
    Pause(command::pause::Pause),
    /// Let the processes of containers go on
    Unpause(command::pause::Pause),
    /// Give a container another name
    Rename(command::rename::Rename),
    /// Remove containers
    Rm(command::rm::Remove),
    /// List containers
    Ps(command::ps::Ps),
    /// Show all that is known of containers or images, as JSON
    Inspect(command::inspect::Inspect),
    /// Run a command in a running container
    Exec(command::exec::Exec),
    /// Check the health of containers
    Healthcheck(command::healthcheck::HealthCheck),
    /// Show what a container wrote to the journal
    Logs(command::logs::Logs),
    /// Bring images into local storage
    Pull(command::pull::Pull),
    /// List images in local storage
    Images(command::images::Images),
    /// Give an image another name
    Tag(command::tag::Tag),
    /// Volumes: files that outlive containers
    #[command(subcommand)]
    Volume(command::volume::Command),
    /// Secrets: what containers are given without anybody seeing it
    #[command(subcommand)]
    Secret(command::secret::Command),
    /// Take names of an image away
    Untag(command::untag::Untag),
    /// Remove images
    Rmi(command::rmi::Rmi),
    /// Show the steps an image was built in
    History(command::history::History),
    /// Log into a registry: its credentials are kept in auth.json
    Login(command::login::Login),
    /// Forget the credentials for a registry
    Logout(command::login::Logout),
    /// Write images into an archive
    Save(command::save::Save),
    /// Read images from an archive
    Load(command::load::Load),
    /// Copy files between a container and the host, or two containers
    Cp(command::cp::Cp),
    /// Show what happens to containers and images
    Events(command::events::Events),
    /// Show the processes of a container
    Top(command::top::Top),
    /// Show what containers use
    Stats(command::stats::Stats),
    /// Show what this host has for containers
    Info(command::info::Info),
    /// Show this program's version
    Version(command::version::Version),
    /// Print the script that completes command lines
    Completion(command::completion::Completion),
    /// Handle images
    Image {
        #[command(subcommand)]
        command: command::image::Command,
    },
    /// Handle containers
    Container {
        #[command(subcommand)]
        command: command::container::Command,
    },
    /// Carry out a pull that a program of ours asks for, as JSON
    #[command(hide = true)]
    Stage,
    /// Containers that share namespaces
    Pod {
        #[command(subcommand)]
        command: command::pod::Command,
    },
    /// Bridges on this host, that containers are attached to
    Network {
        #[command(subcommand)]
        command: command::network::Command,
    },
    /// Show which ports of the host lead to a container
    Port(command::port::Port),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_follows_the_image_is_the_containers() {
        let words = ["x", "run", "--rm", "--network=host", "quay.io/a", "sh", "-c", "--name", "-d"];
        let Command::Run(run) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
        assert_eq!(run.create.command, ["sh", "-c", "--name", "-d"]);
        assert!(run.create.identity.rm && !run.detach && run.create.identity.name.is_none());
    }

    #[test]
    fn flags_that_are_not_there_are_refused() {
        for flag in ["--nosuch", "--blkio", "--rootfs=x"] {
            let words = ["x", "run", "--network=host", flag, "quay.io/a"];
            assert!(Arguments::try_parse_from(words).is_err(), "{flag}");
        }
    }
}
