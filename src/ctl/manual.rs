//! The manual page updaterctl(1).

use std::io;

use clap::CommandFactory as _;

use super::args::{Arguments, EXIT_CODES};
use crate::terminal::manual::{self, Page};

/// The whole page, as troff text.
pub fn page() -> io::Result<String> {
    let about = Page {
        section: "1",
        exit_status: EXIT_CODES.split_once('\n').map_or("", |(_, codes)| codes),
        files: &[
            (
                "/etc/updaterd/updaterd.toml",
                "The configuration of the service, and of updaterctl where it does the work itself.",
            ),
            (
                "/var/lib/updaterd",
                "Images, and the ledger: history, quarantine, rollouts in flight.",
            ),
            ("/run/updaterd/pass.lock", "Held while a pass is under way; names who holds it."),
        ],
        see_also: "updaterd(8), updaterd.toml(5), updater-launch(1), journalctl(1), systemctl(1)",
    };
    manual::page(Arguments::command(), &about)
}
