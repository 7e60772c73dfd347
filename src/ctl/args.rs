//! The command line of `updaterctl`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::Scope;
use crate::model::UnitName;
use crate::update::Trigger;

/// What `--help` and the man page say of exit codes; [`super::exit`] has the numbers.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; for check: also where updates are available
  1  the command could not be carried out
  2  the command line is wrong
  3  some image could not be checked, or some unit could not be updated or lost its container
  4  some unit was rolled back to its old image
  5  some unit needs an operator: neither image came back
  6  another pass is under way
  130  interrupted; what the service had begun it goes on with
Where several apply, it is 5 before 4 before 3.";

/// Keep containers that run in systemd units up to date
///
/// Shows and steers the service updaterd(8). Commands that change something start the service
/// where it is not running; commands that only read never do. Where there is no such service, or
/// no bus to call it over, the work is done in this process.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "updaterctl",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "See \"updaterctl COMMAND --help\" for examples and exit codes.",
    after_long_help = EXIT_CODES
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Global {
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// Work on the host's units (the default for root)
    #[arg(long, global = true, conflicts_with = "user")]
    pub system: bool,
    /// Work on the units of your own systemd instance (the default for everybody else)
    #[arg(long, global = true)]
    pub user: bool,
}

impl Global {
    /// Whose units are meant.
    pub fn scope(&self) -> Scope {
        match (self.system, self.user) {
            (true, _) => Scope::System,
            (_, true) => Scope::User,
            _ => Scope::current(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Show what an update would do, and for everything else why not; changes nothing
    #[command(after_help = "\
Examples:
  updaterctl check          ask the registries and show what would be updated
  updaterctl check --json   the same for a script: .rollouts and .skipped")]
    Check,
    /// Update units now: pull, restart, verify, and roll back what fails
    #[command(after_help = "\
Examples:
  updaterctl update                  everything that has a newer image
  updaterctl update app db.service   only these units; \".service\" may be left out
  updaterctl update --json | jq -r '.outcomes[] | select(.result != \"updated\").unit'")]
    Update(Update),
    /// Show the containers that take part and how they stand; asks no registry
    #[command(after_help = "\
Examples:
  updaterctl status
  updaterctl status --json | jq -r '.units[] | select(.standing == \"needs-operator\").unit'")]
    Status,
    /// Show what was updated, rolled back or failed, newest first
    #[command(after_help = "\
Examples:
  updaterctl history          the last 20 updates
  updaterctl history app -n 5 the last five of app.service")]
    History(History),
    /// Show or clear the images that failed on this host and are not tried again
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Print the completions for a shell
    #[command(after_help = "\
Examples:
  updaterctl completions bash > /usr/share/bash-completion/completions/updaterctl")]
    Completions {
        /// Which shell: bash, elvish, fish, powershell or zsh
        #[arg(hide_possible_values = true)]
        shell: Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

impl Command {
    /// Whether the command has anything to ask the service.
    pub fn needs_service(&self) -> bool {
        !matches!(self, Self::Completions { .. } | Self::Man)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Update {
    /// The units to update; all where none is named
    #[arg(value_name = "UNIT", value_parser = UnitName::from_argument)]
    pub units: Vec<UnitName>,
    /// Who asks: a timer leaves alone what failed a short time ago, a person does not
    #[arg(long, value_name = "WHO", value_enum, default_value_t = Who::Manual)]
    pub trigger: Who,
}

/// Who asks for an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Who {
    Manual,
    Timer,
}

impl From<Who> for Trigger {
    fn from(who: Who) -> Self {
        match who {
            Who::Manual => Self::Manual,
            Who::Timer => Self::Timer,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct History {
    /// Only this unit
    #[arg(value_name = "UNIT", value_parser = UnitName::from_argument)]
    pub unit: Option<UnitName>,
    /// At most so many
    #[arg(short = 'n', long = "lines", value_name = "COUNT", default_value_t = 20)]
    pub lines: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Quarantine {
    /// Show the quarantined images
    List,
    /// Let quarantined images be tried again
    #[command(after_help = "\
Examples:
  updaterctl quarantine clear 4bcff63911fc                 one image, by its digest
  updaterctl quarantine clear registry.example/team/app    all of a repository
  updaterctl quarantine clear --all")]
    Clear(Clear),
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
pub struct Clear {
    /// A digest, its first twelve digits or more, or a repository
    #[arg(value_name = "IMAGE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub image: Option<String>,
    /// Every quarantined image
    #[arg(long)]
    pub all: bool,
}

#[cfg(test)]
mod tests;
