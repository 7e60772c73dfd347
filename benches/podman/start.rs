//! From `run` to the first instruction of the program in the container, beside `podman run`, and
//! beside a runtime alone: `crun run` on a bundle that is ready, with the same namespaces, mounts
//! and filter of system calls.
//!
//! The program is a static one that notes the time. It is handed the clock's word over standard
//! output, after the fact: how a launcher carries that is not in the figure.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::host::Host;
use crate::image::{Image, Layer};
use crate::measure::{Bound, Goal, median, milliseconds};
use crate::registry::Registry;

const RUNS: usize = 31;

const SOURCE: &str = include_str!("first.c");
const PROGRAM: &str = "/tmp/start/first";
const BUNDLE: &str = "/tmp/start/bundle";
const PLAIN: &str = "/tmp/start/bundle-plain";
/// What the launcher binds into a container, besides volumes.
const FILES: &str = "/tmp/start/files";

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    host.write("/tmp/start/first.c", SOURCE);
    host.sh(&format!("gcc -static -O2 -o {PROGRAM} {PROGRAM}.c"));
    let mut layer = Layer::new();
    layer.file("bin/first", 0o755, &std::fs::read(PROGRAM).unwrap());
    let registry = Registry::start(host);
    registry.push("start:latest", &Image::app("v1").layer(layer));
    let image = registry.reference("start:latest");
    host.sh(&format!("updater-launch pull {image}; podman pull --quiet {image}"));
    registry.down();
    make_bundle(host, &image);

    let words = ["run", "--rm", "--network", "host", &image, "/bin/first"];
    let mut times = [const { Vec::new() }; 4];
    // In turns: what else this machine does meets all of them alike.
    for _ in 0..RUNS {
        times[0].push(first_instruction("updater-launch", &words));
        times[1].push(first_instruction("podman", &words));
        for (times, bundle) in times[2..].iter_mut().zip([BUNDLE, PLAIN]) {
            let words = ["run", "--bundle", bundle, "bench"];
            times.push(first_instruction("crun", &words));
        }
    }
    let [ours, podman, crun, plain] = times.map(median);
    for (who, time) in [
        ("updater-launch run", ours),
        ("podman run", podman),
        ("crun run", crun),
        ("crun run, without the filter", plain),
    ] {
        println!("{who:<34} {:9.1} ms", milliseconds(time));
    }
    let part = |of: Duration| ours.as_secs_f64() / of.as_secs_f64();
    vec![
        Goal {
            what: "run to the first instruction, as a part of Podman's time",
            measured: part(podman),
            wanted: Bound::AtMost(0.1),
        },
        Goal {
            what: "run to the first instruction, times bare crun's",
            measured: part(crun),
            wanted: Bound::AtMost(1.5),
        },
        // Its filter takes crun most of its time: this is what there would be to win.
        Goal {
            what: "run to the first instruction, times bare crun's without a filter",
            measured: part(plain),
            wanted: Bound::AtMost(1.5),
        },
    ]
}

/// From before the launcher is started to what its program says of the time.
fn first_instruction(launcher: &str, words: &[&str]) -> Duration {
    let started = now();
    let output = Command::new(launcher)
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{launcher} {words:?}: {}", output.status);
    let said = String::from_utf8(output.stdout).unwrap();
    Duration::from_nanos(said.trim().parse().unwrap()) - started
}

fn now() -> Duration {
    clock_gettime(ClockId::Monotonic).try_into().unwrap()
}

/// A bundle with the launcher's own specification of a container, on files that lie there already,
/// and Podman's filter of system calls, in the runtime's words; and one without a filter.
fn make_bundle(host: &Host, image: &str) {
    let id = host.sh(&format!(
        "updater-launch run --detach --name bundle --network host {image} sleep 1000"
    ));
    let ours = format!("/run/updaterd/containers/{id}");
    let text = host.sh(&format!(
        "cp -r {ours} {FILES}; updater-launch rm --force --time 0 bundle > /dev/null
         cat {FILES}/config.json"
    ));
    let mut spec: Value = serde_json::from_str(&text.replace(&ours, FILES)).unwrap();
    let podmans = host.json(&format!(
        "mkdir -p {BUNDLE}/rootfs {PLAIN}
         id=$(podman create --network host {image} /bin/first 2> /dev/null)
         podman export $id | tar --extract --directory {BUNDLE}/rootfs
         podman init $id > /dev/null 2>&1
         cat $(podman inspect --format '{{{{.OCIConfigPath}}}}' $id)
         podman rm --force $id > /dev/null 2>&1"
    ));
    spec["root"]["path"] = json!(format!("{BUNDLE}/rootfs"));
    spec["process"]["args"] = json!(["/bin/first"]);
    spec["linux"]["cgroupsPath"] = json!("/bench");
    // Rules for devices are a program in the kernel, which the launcher only has where it is asked.
    spec["linux"]["resources"] = json!({});
    host.write(&format!("{PLAIN}/config.json"), &spec.to_string());
    spec["linux"]["seccomp"] = podmans["linux"]["seccomp"].clone();
    host.write(&format!("{BUNDLE}/config.json"), &spec.to_string());
}
