//! The command line of `updater-launch`. A flag that is not here is refused.

use std::ffi::OsString;
use std::iter;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::{
    attach, completion, container, cp, create, events, exec, healthcheck, history, image, images,
    info, inspect, kill, load, login, logs, network, pause, pod, port, ps, pull, rename, restart,
    rm, rmi, run, save, secret, start, stats, stop, tag, top, untag, version, volume, wait,
};

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
    /// The OCI runtime of a container that is made: crun or runc, or the path of one, instead of
    /// libcontainer, which is part of this program
    #[arg(long, value_name = "NAME|PATH", global = true)]
    pub(crate) runtime: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// What is wrong with it, or the help that was asked for.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let Self { root, runroot, runtime, command } = Self::try_parse_from(words)?;
        let known = |word: &OsString| container::VERBS.iter().any(|verb| word == verb);
        let verb = match command {
            Command::Container { command: container::Command::Verb(verb) }
                if verb.first().is_some_and(known) =>
            {
                verb
            }
            command => return Ok(Self { root, runroot, runtime, command }),
        };
        let inner = Self::try_parse_from(iter::once("updater-launch".into()).chain(verb))?;
        let (root, runroot) = (inner.root.or(root), inner.runroot.or(runroot));
        let runtime = inner.runtime.or(runtime);
        Ok(Self { root, runroot, runtime, command: inner.command })
    }
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Run a command in a new container
    Run(Box<run::Run>),
    /// Make a container, to be started later
    Create(Box<create::Flags>),
    /// Start containers that were made, or have ended
    Start(start::Start),
    /// Stop containers: their stop signal, then SIGKILL after a timeout
    Stop(stop::Stop),
    /// Attach to a container that runs
    Attach(attach::Attach),
    /// Send a signal to containers
    Kill(kill::Kill),
    /// Stop containers, and start them again
    Restart(restart::Restart),
    /// Wait for the end of containers, and print their exit statuses
    Wait(wait::Wait),
    /// Freeze all processes of containers
    Pause(pause::Pause),
    /// Let the processes of containers go on
    Unpause(pause::Pause),
    /// Give a container another name
    Rename(rename::Rename),
    /// Remove containers
    Rm(rm::Remove),
    /// List containers
    Ps(ps::Ps),
    /// Show all that is known of containers or images, as JSON
    Inspect(inspect::Inspect),
    /// Run a command in a running container
    Exec(exec::Exec),
    /// Check the health of containers
    Healthcheck(healthcheck::HealthCheck),
    /// Show what a container wrote to the journal
    Logs(logs::Logs),
    /// Bring images into local storage
    Pull(pull::Pull),
    /// List images in local storage
    Images(images::Images),
    /// Give an image another name
    Tag(tag::Tag),
    /// Volumes: files that outlive containers
    #[command(subcommand)]
    Volume(volume::Command),
    /// Secrets: what containers are given without anybody seeing it
    #[command(subcommand)]
    Secret(secret::Command),
    /// Take names of an image away
    Untag(untag::Untag),
    /// Remove images
    Rmi(rmi::Rmi),
    /// Show the steps an image was built in
    History(history::History),
    /// Log into a registry: its credentials are kept in auth.json
    Login(login::Login),
    /// Forget the credentials for a registry
    Logout(login::Logout),
    /// Write images into an archive
    Save(save::Save),
    /// Read images from an archive
    Load(load::Load),
    /// Copy files between a container and the host, or two containers
    Cp(cp::Cp),
    /// Show what happens to containers and images
    Events(events::Events),
    /// Show the processes of a container
    Top(top::Top),
    /// Show what containers use
    Stats(stats::Stats),
    /// Show what this host has for containers
    Info(info::Info),
    /// Show this program's version
    Version(version::Version),
    /// Print the script that completes command lines
    Completion(completion::Completion),
    /// Handle images
    Image {
        #[command(subcommand)]
        command: image::Command,
    },
    /// Handle containers: with "ls", "prune" and the like, or any verb of a container
    Container {
        #[command(subcommand)]
        command: container::Command,
    },
    /// Carry out a pull that a program of ours asks for, as JSON
    #[command(hide = true)]
    Stage,
    /// Remove images that a program of ours names, as JSON
    #[command(hide = true)]
    Retire,
    /// Containers that share namespaces
    Pod {
        #[command(subcommand)]
        command: pod::Command,
    },
    /// Bridges on this host, that containers are attached to
    Network {
        #[command(subcommand)]
        command: network::Command,
    },
    /// Show which ports of the host lead to a container
    Port(port::Port),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    /// A program that is started for each container reads its flags, not those of all commands.
    #[test]
    fn flags_are_made_when_their_command_is_called() {
        let command = Arguments::command();
        for verb in command.get_subcommands() {
            assert_eq!(verb.get_arguments().count(), 0, "{}", verb.get_name());
        }
    }

    /// A doc comment on a group of flags would become the description of the command that has them.
    #[test]
    fn a_command_is_described_the_same_when_it_is_called() {
        let command = Arguments::command();
        let mut called = command.clone();
        called.build();
        for verb in command.get_subcommands() {
            let about = |command: &clap::Command| command.get_about().map(ToString::to_string);
            let built = called.find_subcommand(verb.get_name()).unwrap();
            assert_eq!(about(built), about(verb), "{}", verb.get_name());
        }
    }

    #[test]
    fn what_follows_the_image_is_the_containers() {
        let words = ["x", "run", "--rm", "--network=host", "quay.io/a", "sh", "-c", "--name", "-d"];
        let Command::Run(run) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
        assert_eq!(run.create.command, ["sh", "-c", "--name", "-d"]);
        assert!(run.create.identity.rm && !run.detach && run.create.identity.name.is_none());
    }

    #[test]
    fn verbs_of_containers_may_say_so() {
        let read = |words: &str| Arguments::read(words.split(' ').map(OsString::from));
        let stop = read("x --root /a container stop --time 5 web").unwrap();
        assert!(matches!(stop.command, Command::Stop(_)));
        assert_eq!(stop.root, Some("/a".into()));
        assert!(matches!(read("x container run -d a b").unwrap().command, Command::Run(_)));
        assert!(matches!(read("x container ls").unwrap().command, Command::Container { .. }));
        for other in ["x container pull a", "x container container ls"] {
            let command = read(other).unwrap().command;
            assert!(matches!(command, Command::Container { .. }), "{other}");
        }
        assert!(read("x container").is_err());
        let known: Vec<_> =
            Arguments::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
        assert!(container::VERBS.iter().all(|verb| known.iter().any(|known| known == verb)));
    }

    #[test]
    fn flags_that_are_not_there_are_refused() {
        for flag in ["--nosuch", "--blkio", "--rootfs=x"] {
            let words = ["x", "run", "--network=host", flag, "quay.io/a"];
            assert!(Arguments::try_parse_from(words).is_err(), "{flag}");
        }
    }
}
