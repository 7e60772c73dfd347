//! The command line of `updaterctl`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::Scope;
use crate::model::UnitName;
use crate::terminal::template::Format;
use crate::update::{OutcomeKind, Trigger};

mod gates;
mod since;
mod until;

pub use gates::{Approve, Hold, Unhold};
pub use since::Since;
pub use until::Until;

/// What `--help` and the man page say of exit codes; [`super::exit`] has the numbers.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; for check and why: also where updates are available
  1  the command could not be carried out
  2  the command line is wrong
  3  some image could not be checked, or some unit not be updated; or doctor found something
  4  some unit was rolled back to its old image; for rollback: got back what it ran
  5  some unit needs an operator: neither image came back, or the cause was not the image
  6  another pass is under way
  125  auto-update, as Podman's: anything failed, or the command line is wrong
  130  interrupted; what the service had begun it goes on with
Where several apply, it is 5 before 4 before 3.";

/// What `auto-update --help` begins with.
const AUTO_UPDATE: &str = "\
Update everything, with the flags, the table and the exit codes of podman-auto-update(1)

For scripts that were written for Podman. The work is done in this process, after another pass that \
is under way has ended; what an update does is what \"updaterctl update\" does. UPDATED is \"true\", \
\"false\", \"pending\", \"failed\" or \"rolled back\". The exit code is 125 where anything failed, and 0 \
also where a unit was rolled back: \"updaterctl update\" tells more.";

/// What `rollback --help` begins with.
const ROLLBACK: &str = "\
Have units go back to the image they ran before their last update, and stay there

The image comes out of storage: no registry is asked. The unit is restarted and watched as for an \
update; if it does not come back, it gets what it ran. The image it leaves is quarantined, so that \
the next check does not bring it again; \"updaterctl quarantine clear\" ends that. A unit whose last \
update brought several images, such as a pod's, goes back with all of them. Podman has only the tag: \
all units that are kept up to date on it go back together. A unit that is stopped is not started.";

/// Keep containers that run in systemd units up to date
///
/// Shows and steers the service updaterd(8). Commands that change something start the service
/// where it is not running; commands that only read never do. Where there is no such service, or
/// no bus to call it over, the work is done in this process.
#[derive(Debug, Clone, PartialEq, Parser)]
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

#[derive(Debug, Clone, PartialEq, Subcommand)]
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
    /// Have units go back to the image they ran before their last update, and stay there
    #[command(long_about = ROLLBACK, after_help = "\
Examples:
  updaterctl rollback app                     what app.service ran before its last update
  updaterctl rollback app --to 4bcff63911fc   an image it had before; \"history\" lists them
  updaterctl quarantine clear 0c68bbbb9c2f    and the image it left may come again")]
    Rollback(Rollback),
    /// Say in one line why a unit is not updated, or that it is up to date; changes nothing
    #[command(after_help = "\
Examples:
  updaterctl why app          ask the registry, and say how app.service stands and what to do
  updaterctl why app --json   the same for a script, with all that the answer comes from")]
    Why {
        /// The unit
        #[arg(value_name = "UNIT", value_parser = UnitName::from_argument)]
        unit: UnitName,
    },
    /// Update everything, with the flags, the table and the exit codes of "podman auto-update"
    #[command(long_about = AUTO_UPDATE, after_help = "\
Examples:
  updaterctl auto-update                       as \"podman auto-update\"
  updaterctl auto-update --dry-run             UPDATED is \"pending\" where there is something new
  updaterctl auto-update --format '{{.Unit}} {{.Updated}}'")]
    AutoUpdate(AutoUpdate),
    /// Look for what keeps updates from happening, each with the command that mends it
    #[command(after_help = "\
Examples:
  updaterctl doctor           asks the registries, systemd and the host; changes nothing
  updaterctl doctor --json | jq -r '.findings[].mend'")]
    Doctor,
    /// Show the containers that take part and how they stand; asks no registry
    #[command(after_help = "\
Examples:
  updaterctl status
  updaterctl status --json | jq -r '.units[] | select(.standing == \"needs-operator\").unit'
  updaterctl status --registries                 which registry is down, or allows no more pulls")]
    Status(Status),
    /// Show what was updated, rolled back or failed, newest first
    #[command(after_help = "\
Examples:
  updaterctl history                             the last 20 updates
  updaterctl history app db -n 5                 the last five of app.service and db.service
  updaterctl history app -v                      in full, with what the unit wrote last where it failed
  updaterctl history --since 7d --outcome rolled-back,needs-operator")]
    History(History),
    /// Leave units as they are until then, or until "unhold"
    #[command(long_about = gates::HOLD, after_help = gates::HOLD_EXAMPLES)]
    Hold(Hold),
    /// Let units be updated again that were held
    Unhold(Unhold),
    /// Let units have the images that wait for an approval (mode = "approve")
    #[command(long_about = gates::APPROVE, after_help = gates::APPROVE_EXAMPLES)]
    Approve(Approve),
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
        !matches!(self, Self::Completions { .. } | Self::Man | Self::AutoUpdate(_))
    }
}

/// Whether a command line that makes no sense was meant for `auto-update`, whose callers know Podman's
/// exit codes.
pub fn is_auto_update(words: impl IntoIterator<Item = std::ffi::OsString>) -> bool {
    let mut words = words.into_iter().skip(1);
    words
        .find(|word| !word.as_encoded_bytes().starts_with(b"-"))
        .is_some_and(|word| word == "auto-update")
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

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Status {
    /// Show the registries instead: how each stands, the pulls it allows, its last error, and when it
    /// is asked again
    #[arg(long)]
    pub registries: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Rollback {
    /// The units that go back
    #[arg(value_name = "UNIT", value_parser = UnitName::from_argument, required = true)]
    pub units: Vec<UnitName>,
    /// Another image that is still in storage: its digest, or the beginning of it
    #[arg(long, value_name = "DIGEST", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub to: Option<String>,
}

/// As podman-auto-update(1) has them.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AutoUpdate {
    /// The credentials file for images whose container names none
    #[arg(long, value_name = "PATH", env = "REGISTRY_AUTH_FILE", hide_env_values = true)]
    pub authfile: Option<PathBuf>,
    /// Show what would be updated; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// "json", or a Go template, after "table" one with headings
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    pub format: Format,
    /// Go back to the old image where an update fails
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "true", hide_default_value = true,
        hide_possible_values = true)]
    #[arg(action = clap::ArgAction::Set)]
    pub rollback: bool,
    /// Whether registries must speak TLS with a certificate that is trusted; registries.conf(5) says
    /// so where this does not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    pub tls_verify: Option<bool>,
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
    /// Only these units
    #[arg(value_name = "UNIT", value_parser = UnitName::from_argument)]
    pub units: Vec<UnitName>,
    /// Only this unit, as an option; may be given several times
    #[arg(long = "unit", value_name = "UNIT", value_parser = UnitName::from_argument)]
    pub more_units: Vec<UnitName>,
    /// Not what ended before: "7d" or "2h 30m" ago, or at "2026-11-26", "2026-11-26 08:00", "today",
    /// "yesterday", or a time of RFC 3339
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    pub since: Option<Since>,
    /// Only what ended so: updated, reverted, rolled-back, failed, needs-operator, stopped, deferred,
    /// not-reached; several with commas
    #[arg(long = "outcome", value_name = "OUTCOME", value_delimiter = ',', value_parser = outcome)]
    pub outcomes: Vec<OutcomeKind>,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub limit: u32,
    /// Show each in full, with the last lines of the journal where it failed
    #[arg(short, long)]
    pub verbose: bool,
}

fn outcome(name: &str) -> Result<OutcomeKind, String> {
    let known = || OutcomeKind::ENDS.map(OutcomeKind::name).join(", ");
    OutcomeKind::end(name).ok_or_else(|| format!("no update ends so; they end as {}", known()))
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
