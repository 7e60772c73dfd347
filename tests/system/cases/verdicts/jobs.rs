//! Jobs, which are judged by how their next run ends. Each run waits until it is let go on.

use super::Case;
use super::Expected::{Kept, RolledBack};
use crate::image::{Image, Layer};
use crate::units::ContainerUnit;

/// What a job does once it is let go on; `name` is its own.
fn then(version: &str, name: &str, script: &str) -> Image {
    let wait = format!("while [ ! -e /jobs/{name} ]; do sleep 0.2; done; rm /jobs/{name}");
    Image::script(version, &format!("{wait}\n{script}"))
}

fn case(name: &'static str, expected: super::Expected, script: &str) -> Case {
    Case::new(name, expected, then("v2", name, script)).old(then("v1", name, "exit 0")).unit(job)
}

fn job(unit: ContainerUnit) -> ContainerUnit {
    unit.kind("oneshot").flag("--volume /jobs:/jobs").setting("TimeoutStartSec=infinity")
}

pub(super) fn cases() -> Vec<Case> {
    let back = |name, script| case(name, RolledBack, script);
    let kept = |name, script| case(name, Kept, script);
    let mut plain = Layer::new();
    plain.file("app/plain", 0o644, b"#!/bin/sh\n");
    vec![
        back("job-fails", "exit 1"),
        back("job-fails-late", "sleep 4; exit 7"),
        back("job-is-killed", "kill -SEGV $$; sleep 100").unit(|unit| job(unit).flag("--init")),
        back("job-finds-no-program", "exec /no/such/program"),
        back("job-fails-again-and-again", "exit 1")
            .unit(|unit| job(unit).setting("Restart=on-failure\nRestartSec=1h")),
        Case::new(
            "job-is-not-executable",
            RolledBack,
            Image::app("v2").with("Cmd", ["/app/plain"]).layer(plain),
        )
        .old(then("v1", "job-is-not-executable", "exit 0"))
        .unit(job),
        back("job-of-another-type", "exit 2")
            .unit(|unit| {
                // Started by a timer, whose time never comes.
                unit.kind("exec").flag("--volume /jobs:/jobs")
            })
            .beside(&[("job-of-another-type.timer", "[Timer]\nOnCalendar=2100-01-01\n")]),
        kept("job-ends-well", "exit 0"),
        kept("job-ends-late", "sleep 5; exit 0"),
        kept("job-ends-in-its-own-way", "exit 3")
            .unit(|unit| job(unit).setting("SuccessExitStatus=3")),
        kept("job-complains", "echo fatal error >&2; /bin/false; exit 0"),
    ]
}
