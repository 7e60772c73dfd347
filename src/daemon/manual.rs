//! The manual page updaterd(8).

use std::io;

use clap::CommandFactory as _;

use super::args::Arguments;
use crate::terminal::manual::{self, Page};

/// The whole page, as troff text.
pub fn page() -> io::Result<String> {
    let about = Page {
        section: "8",
        exit_status: concat!(
            "  0  stopped as asked, idle (schedule = \"timer\"), or recovered\n",
            "  1  failed; it says why on standard error and in the journal\n",
            "  78  the configuration is wrong, or names a directory that is read-only to the service: \
             systemd does not start it again",
        ),
        files: &[
            ("/etc/updaterd/updaterd.toml", "The configuration: see updaterd.toml(5)."),
            ("/var/lib/updaterd", "Images, layers, and the ledger."),
            ("/run/updaterd", "Records of containers, and the lock of passes."),
        ],
        see_also: "updaterctl(1), updater-launch(1), updaterd.toml(5), org.updaterd.Updater1(5), journalctl(1)",
    };
    manual::page(Arguments::command(), &about)
}

#[cfg(test)]
mod tests {
    /// `UPDATE_MANUAL=1 cargo test manual` writes it anew.
    #[test]
    fn the_page_is_the_one_in_docs() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/man/updaterd.8");
        let page = super::page().unwrap();
        if std::env::var_os("UPDATE_MANUAL").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page);
    }

    #[test]
    fn each_exit_status_is_an_item() {
        let page = super::page().unwrap();
        for code in ["0", "1", "78"] {
            assert!(page.contains(&format!(".TP 4\n\\fB{code}\\fR\n")), "{code}: {page}");
        }
    }
}
