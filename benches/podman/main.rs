//! The project beside Podman, on the same host at the same time: a booted box (`tests/box/boot`)
//! with one registry. What counts are the ratios; the times drift from machine to machine.
//!
//! `make bench`, or `cargo bench --bench podman -- start burst` for some of it. It needs root and
//! what `tests/install-dependencies.sh` installs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot go on panics")]

mod burst;
mod check;
mod floor;
mod generated;
mod hosts;
mod measure;
mod outage;
mod pull;
mod start;
mod stop;
mod supervisor;
mod update;

// The system tests' host, images and registry, of which not all is needed here.
#[allow(dead_code, reason = "shared with the system tests")]
#[path = "../../tests/system/host.rs"]
mod host;
#[allow(dead_code, reason = "shared with the system tests")]
#[path = "../../tests/system/image.rs"]
mod image;
#[allow(dead_code, reason = "shared with the system tests")]
#[path = "../../tests/system/registry.rs"]
mod registry;
#[allow(dead_code, reason = "shared with the system tests")]
#[path = "../../tests/system/relay.rs"]
mod relay;
#[allow(dead_code, reason = "shared with the system tests")]
#[path = "../../tests/system/units.rs"]
mod units;

use std::process::{Command, ExitCode, Stdio};

use host::Host;
use measure::Goal;

/// One comparison: its name, and what it gives to hold against the goals.
type Comparison = (&'static str, fn(&Host) -> Vec<Goal>);

const COMPARISONS: &[Comparison] = &[
    // First: where Podman has run since the boot, a check asks it as well.
    ("check", check::compare),
    ("start", start::compare),
    ("stop", stop::compare),
    ("burst", burst::compare),
    ("supervisor", supervisor::compare),
    ("pull", pull::compare),
    ("outage", outage::compare),
    ("hosts", hosts::compare),
    // Last: it leaves sixty images in Podman's storage, of which the others know nothing.
    ("update", update::compare),
];

const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/box/boot");

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--inside") {
        arguments.remove(0);
        return inside(&arguments);
    }
    // `cargo bench` adds --bench.
    arguments.retain(|argument| !argument.starts_with('-'));
    let this = std::env::current_exe().unwrap();
    let status = Command::new(BOOT)
        .args(["--time-limit", "1800", "--bind-ro", env!("CARGO_MANIFEST_DIR"), "--bind-ro"])
        .arg(this.parent().unwrap())
        .arg("--bind-ro")
        .arg(host::programs())
        // For what is measured on a disk.
        .args(["--bind", env!("CARGO_TARGET_TMPDIR")])
        .arg("--")
        .arg(&this)
        .arg("--inside")
        .args(&arguments)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn inside(wanted: &[String]) -> ExitCode {
    if let Some((measure::REPORT, words)) =
        wanted.split_first().map(|(first, words)| (first.as_str(), words))
    {
        return measure::report(words);
    }
    if let Some((floor::FLOOR, blobs)) =
        wanted.split_first().map(|(first, blobs)| (first.as_str(), blobs))
    {
        return floor::report(blobs);
    }
    let host = Host::install();
    if wanted == [pull::PUSH] {
        pull::push(&host);
        return ExitCode::SUCCESS;
    }
    // As Podman runs anywhere: without a pids controller, and where crun may not raise its limits.
    host.write(
        "/etc/containers/containers.conf",
        "[containers]\npids_limit = 0\n[engine]\nruntime = \"runc\"\n",
    );
    println!("{}", host.sh("podman --version; for program in conmon runc crun; do $program --version | head -n 1; done"));
    let mut reached = true;
    for (name, compare) in COMPARISONS {
        if !wanted.is_empty() && !wanted.iter().any(|word| word == name) {
            continue;
        }
        println!("\n== {name}");
        for goal in compare(&host) {
            reached &= goal.reached();
            println!("{goal}");
        }
    }
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
