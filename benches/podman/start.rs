//! From `run` to the first instruction of the program in the container.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::image::Image;
use crate::measure::{Bound, Goal, median};
use crate::registry::Registry;

const RUNS: usize = 25;

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    let registry = Registry::start(host);
    registry.push("start:latest", &Image::app("v1"));
    let image = registry.reference("start:latest");
    host.sh(&format!("updater-launch pull {image}; podman pull --quiet {image}"));
    host.sh("mkdir /tmp/start; mkfifo /tmp/start/first");
    let ours = median((0..RUNS).map(|_| first_instruction("updater-launch", &image)).collect());
    let theirs = median((0..RUNS).map(|_| first_instruction("podman", &image)).collect());
    registry.down();
    println!("updater-launch run {:34.1} ms", ours.as_secs_f64() * 1e3);
    println!("podman run {:42.1} ms", theirs.as_secs_f64() * 1e3);
    vec![Goal {
        what: "run to the first instruction, as a part of Podman's time",
        measured: ours.as_secs_f64() / theirs.as_secs_f64(),
        wanted: Bound::AtMost(0.25),
    }]
}

/// The program's first act is to write to a pipe that is mounted in: nothing of the launcher's own
/// handling of output is in the way.
fn first_instruction(launcher: &str, image: &str) -> Duration {
    let started = Instant::now();
    let mut child = Command::new(launcher)
        .args(["run", "--rm", "--network", "host", "--volume", "/tmp/start:/first", image])
        .args(["sh", "-c", "echo > /first/first"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut byte = [0];
    File::open("/tmp/start/first").unwrap().read_exact(&mut byte).unwrap();
    let first = started.elapsed();
    assert!(child.wait().unwrap().success());
    first
}
