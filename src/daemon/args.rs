//! The command line of `updaterd`.

use clap::Parser;

use crate::config::Scope;

/// Keep containers that run in systemd units up to date
///
/// The service: checks on its schedule, updates what changed, verifies, and rolls back what
/// fails. It is started by systemd as updaterd.service; updaterctl(1) shows and steers it. Where
/// there is no bus nobody can call it: it works all the same, and updaterctl works by itself.
///
/// SIGHUP ("systemctl reload updaterd.service") has it read its configuration again. What it does is
/// in the journal: "journalctl -u updaterd.service", and with each unit's own lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Parser)]
#[command(name = "updaterd", version)]
pub struct Arguments {
    /// Finish or roll back the updates that a crash or a shutdown interrupted, then exit
    #[arg(long)]
    pub recover_only: bool,
    /// Read the configuration, say whether it is good, and exit
    #[arg(long, conflicts_with = "recover_only")]
    pub check_config: bool,
    /// Work on the host's units (the default for root)
    #[arg(long, conflicts_with = "user")]
    pub system: bool,
    /// Work on the units of the calling user's systemd instance (the default for everybody else)
    #[arg(long)]
    pub user: bool,
}

impl Arguments {
    /// Whose units are meant.
    pub fn scope(&self) -> Scope {
        match (self.system, self.user) {
            (true, _) => Scope::System,
            (_, true) => Scope::User,
            _ => Scope::current(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn help_is_the_golden() {
        let mut command = Arguments::command().term_width(100);
        command.clone().debug_assert();
        insta::assert_snapshot!(command.render_long_help());
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for line in ["updaterd --system --user", "updaterd --recover-only --check-config"] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
