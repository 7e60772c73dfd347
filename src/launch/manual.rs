//! The manual page updater-launch(1).

use std::io;

use clap::CommandFactory as _;

use crate::launch::command::Arguments;
use crate::terminal::manual::{self, Page};

/// The whole page, as troff text.
pub fn page() -> io::Result<String> {
    let about = Page {
        section: "1",
        exit_status: concat!(
            "  N  run and exec: what the container, or the command in it, ended with\n",
            "  125  updater-launch itself failed; it says why on standard error\n",
            "  126  the command cannot be executed, or not as that user or in that directory\n",
            "  127  the command was not found\n",
            "  128+N  signal N ended the container",
        ),
        files: &[
            ("/var/lib/updaterd", "Images, layers, and what containers write."),
            ("/run/updaterd/containers", "A record of each container that runs."),
            (
                "$XDG_DATA_HOME/updaterd, $XDG_RUNTIME_DIR/updaterd",
                "The same, of an ordinary user.",
            ),
            ("/etc/subuid, /etc/subgid", "The users and groups of a user's containers."),
            ("/etc/containers/registries.conf", "Registries: see containers-registries.conf(5)."),
            (
                "/etc/containers/policy.json",
                "Which images may be pulled: see containers-policy.json(5). GPG signatures, Fulcio and Rekor \
                 are not supported: an image that a rule asks them of is not pulled.",
            ),
        ],
        see_also: "updaterd(8), updaterctl(1), systemd.service(5), podman-run(1)",
    };
    manual::page(Arguments::command(), &about)
}

#[cfg(test)]
mod tests {
    /// `UPDATE_MANUAL=1 cargo test manual` writes it anew.
    #[test]
    fn the_page_is_the_one_in_docs() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/man/updater-launch.1");
        let page = super::page().unwrap();
        if std::env::var_os("UPDATE_MANUAL").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page);
    }
}
