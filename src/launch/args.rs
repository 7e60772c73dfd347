//! The command line of `updater-launch`, in Podman's words. A flag that is not here is refused.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::launch::isolation::cgroup::Mode;
use crate::launch::lifecycle::name;

const EXAMPLES: &str = "\
Examples:
  In a unit, with Type=notify, Delegate=yes, KillMode=mixed:
    ExecStart=updater-launch run --rm --replace --name %N --network host \\
              --label io.containers.autoupdate=registry registry.example/app:1
  By hand:
    updater-launch ps
    updater-launch exec app sh -c 'id; ps'
    updater-launch logs --follow app

Exit status of run and exec: that of the container; 125 where this program failed, 126 where the
command cannot be executed, 127 where it is not found, 128+N where signal N ended it.";

const SURROUNDINGS: &str = "\
What a container has, whatever the unit or shell that starts it:
  Standard input is empty. Descriptors that systemd passes (socket activation) are handed on.
  The umask is 022; the groups are those of its user in the image.
  RLIMIT_NOFILE and RLIMIT_NPROC are 1048576, or the hard limit of the unit (LimitNOFILE=,
  LimitNPROC=) where that is less; all other limits are the unit's.
  Mounts are made in the order of their depth, whatever the order of the flags.
  A missing working directory of the image is made; one of --workdir must be there.
  With MKNOD or SYS_ADMIN, the only devices of the host that it can open are null, zero, full,
  random, urandom, tty, ptmx, pseudo terminals, and those bound by name with the option \"dev\".
  On x86_64, 32-bit programs run under the same filter of system calls.";

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
    /// Where images and containers' files are kept, instead of /var/lib/updaterd
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) root: Option<PathBuf>,
    /// Where running state is kept, instead of /run/updaterd
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) runroot: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command in a new container
    Run(Box<Run>),
    /// Stop containers: their stop signal, then SIGKILL after a timeout
    Stop(Stop),
    /// Remove containers
    Rm(Remove),
    /// List containers
    Ps(Ps),
    /// Show all that is known of containers or images, as JSON
    Inspect(Inspect),
    /// Run a command in a running container
    Exec(Exec),
    /// Show what a container wrote to the journal
    Logs(Logs),
    /// Bring images into local storage
    Pull(Pull),
    /// List images in local storage
    Images(Images),
    /// Give an image another name
    Tag(Tag),
}

/// `run`, with the flags of podman-run(1) that are there.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = SURROUNDINGS)]
pub(crate) struct Run {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Name of the container; one is made up where there is none
    #[arg(long, value_parser = name::parse)]
    pub(crate) name: Option<String>,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub(crate) label: Vec<String>,
    /// Set an environment variable, or pass one on
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Bind a directory or file of the host: rprivate, nosuid, nodev, unless its options say suid, dev
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]")]
    pub(crate) volume: Vec<String>,
    /// Mount a tmpfs; it begins with what the image has there, unless its options say notmpcopyup
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub(crate) tmpfs: Vec<String>,
    /// User, and group, to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// What runs instead of the image's entrypoint; a JSON list for several words
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// Mount the container's root file system read-only, but for a tmpfs on /run, /tmp, /var/tmp and
    /// for the image's volumes
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Host name in the container
    #[arg(short, long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Add a capability, or "all" that the launcher has
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Drop a capability, or "all"
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Network: the host's, or none. Required, because Podman's default (a bridge) is not there yet
    #[arg(long, visible_alias = "net", value_name = "MODE", overrides_with = "network")]
    pub(crate) network: Network,
    /// Write the container's ID to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// Stop and remove a container of the same name first
    #[arg(long)]
    pub(crate) replace: bool,
    /// Print the ID and leave the container to a supervisor in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(crate) pull: PullPolicy,
    /// Who tells systemd that the service is ready
    #[arg(long, value_name = "WHO", default_value = "conmon")]
    pub(crate) sdnotify: SdNotify,
    /// The container's cgroup: by default one of its own below the unit's
    #[arg(long, value_name = "MODE")]
    pub(crate) cgroups: Option<Mode>,
    /// Seconds between the stop signal and SIGKILL
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) stop_timeout: u32,
    /// Signal that stops the container, instead of the image's
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
    /// Where output goes: in a unit to the journal by default, else to this program's own output
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<LogDriver>,
    /// Image reference, with its registry
    pub(crate) image: String,
    /// Command and its arguments, instead of the image's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// How registries are spoken to.
#[derive(Debug, Args)]
pub(crate) struct RegistryFlags {
    /// File with credentials (containers-auth.json(5))
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Whether a registry must prove who it is
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    Host,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullPolicy {
    /// Where the registry has another image, or there is none here
    Always,
    /// Where there is none here
    Missing,
    Never,
    /// As always, but an image that is here will do where the registry cannot be reached
    Newer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SdNotify {
    /// This program, as soon as the container runs
    Conmon,
    /// The program in the container
    Container,
    /// Nobody
    Ignore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogDriver {
    /// The journal, with CONTAINER_NAME= and CONTAINER_ID=
    Journald,
    /// This program's own standard output and error, handed over as they are
    Passthrough,
    None,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds before SIGKILL, instead of the container's own
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// Files with IDs of containers
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Vec<PathBuf>,
    /// A container or cidfile that is not there is no error
    #[arg(short, long)]
    pub(crate) ignore: bool,
    /// Names, or IDs, or the beginnings of such
    #[arg(required_unless_present = "cidfile")]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Stop containers that run
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Seconds before SIGKILL, instead of the container's own
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// Files with IDs of containers
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Vec<PathBuf>,
    /// A container or cidfile that is not there is no error
    #[arg(short, long)]
    pub(crate) ignore: bool,
    /// Names, or IDs, or the beginnings of such
    #[arg(required_unless_present = "cidfile")]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Show containers that have ended, too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Print IDs only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Do not shorten IDs
    #[arg(long)]
    pub(crate) no_trunc: bool,
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Names or IDs of containers, or references of images
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Set an environment variable, or pass one on
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// User, and group, to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Name or ID of the container
    pub(crate) container: String,
    /// Command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only so many of the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// Show times
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Name or ID of the container
    pub(crate) container: String,
}

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Print the image IDs only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
    /// Image references, with their registries
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Print IDs only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The image: a reference, or the beginning of its ID
    pub(crate) image: String,
    /// New references for it
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
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
        assert_eq!(run.command, ["sh", "-c", "--name", "-d"]);
        assert!(run.rm && !run.detach && run.name.is_none());
    }

    #[test]
    fn flags_that_are_not_there_are_refused() {
        for flag in
            ["--publish=80:80", "--memory=1g", "--pod=x", "--privileged", "--network=bridge"]
        {
            let words = ["x", "run", "--network=host", flag, "quay.io/a"];
            assert!(Arguments::try_parse_from(words).is_err(), "{flag}");
        }
    }
}
