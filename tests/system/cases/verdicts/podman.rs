//! Some of both tables for Podman's containers, in units as `podman generate systemd --new` writes them.

use super::{Case, Expected};
use crate::image::Image;
use crate::podman::PodmanUnit;

type PodmanCase = Case<PodmanUnit>;

const UNTIL_TERM: &str = "trap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done";

fn script(script: &str) -> Image {
    Image::script("v2", script)
}

fn back(name: &'static str, new: Image) -> PodmanCase {
    Case::new(name, Expected::RolledBack, new)
}

fn kept(name: &'static str, new: Image) -> PodmanCase {
    Case::new(name, Expected::Kept, new)
}

/// READY comes from the program.
fn notified(unit: PodmanUnit) -> PodmanUnit {
    unit.flag("--sdnotify=container").flag("--volume /usr:/usr:ro")
}

pub(super) fn cases() -> Vec<PodmanCase> {
    [broken(), slow()].into_iter().flatten().collect()
}

fn broken() -> Vec<PodmanCase> {
    vec![
        back("exits-1-at-once", script("exit 1")),
        back("exits-0-later", script("sleep 2; exit 0")),
        back("exits-125-later", script("sleep 1; exit 125")),
        back("restart-always", script("sleep 1; exit 1"))
            .unit(|unit| unit.setting("Restart=always\nRestartSec=100ms")),
        back("no-such-program", Image::app("v2").with("Cmd", ["/no/such/program"])),
        back("no-such-user", Image::app("v2").with("User", "nobody-here")),
        Case::new(
            "no-command",
            Expected::Excused,
            Image::app("v2").with("Cmd", Vec::<String>::new()),
        ),
        back("writes-where-it-may-not", script("echo state > /app/state || exit 1\nsleep 1000"))
            .unit(|unit| unit.flag("--read-only")),
        back("not-ready-in-time", script(UNTIL_TERM))
            .old(Image::notifying("v1"))
            .options("start_timeout = \"3s\"")
            .unit(notified),
    ]
}

fn slow() -> Vec<PodmanCase> {
    vec![
        kept(
            "is-ready-late",
            script(&format!("sleep 5; /usr/bin/systemd-notify --ready\n{UNTIL_TERM}")),
        )
        .old(Image::notifying("v1"))
        .unit(notified),
        kept("old-one-fails-at-its-end", script(UNTIL_TERM))
            .old(Image::script("v1", "trap 'exit 3' TERM\nwhile :; do sleep 1000 & wait $!; done")),
        kept(
            "workers-come-and-go",
            script(&format!("(while :; do sleep 0.3; done) &\n{UNTIL_TERM}")),
        )
        .unit(|unit| unit.setting("Restart=always")),
        kept("writes-many-lines", script(&format!("seq 1 5000\n{UNTIL_TERM}"))),
    ]
}
