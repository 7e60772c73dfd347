//! Who waits for a running container: memory, and how often it wakes up while nothing happens.

use std::time::Duration;

use crate::generated::{Engine, Units};
use crate::host::Host;
use crate::image::Image;
use crate::measure::{Bound, Goal};
use crate::registry::Registry;

const CONTAINERS: usize = 10;
/// For what a start leaves to be done.
const SETTLE: Duration = Duration::from_secs(3);
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    let registry = Registry::start(host);
    registry.push("wait:latest", &Image::app("v1"));
    let image = registry.reference("wait:latest");
    host.sh(&format!("updater-launch pull {image}; podman pull --quiet {image}"));
    registry.down();
    let [ours, theirs] = Engine::BOTH.map(|engine| look(host, engine, &image));
    vec![
        Goal {
            what: "private memory of a supervisor, KiB",
            measured: ours.private,
            wanted: Bound::AtMost(1024.0),
        },
        Goal {
            what: "a supervisor's share of memory (PSS), as a part of conmon's",
            measured: ours.share / theirs.share,
            wanted: Bound::AtMost(1.0),
        },
        Goal {
            what: "wake-ups of a supervisor while nothing happens",
            measured: ours.wakeups,
            wanted: Bound::AtMost(0.0),
        },
    ]
}

/// Of the one that takes most.
struct Supervisor {
    private: f64,
    share: f64,
    wakeups: f64,
}

fn look(host: &Host, engine: Engine, image: &str) -> Supervisor {
    let units = Units::write(host, engine, "wait", &vec![image.to_owned(); CONTAINERS], "");
    units.start();
    std::thread::sleep(SETTLE);
    let processes = units.main_processes();
    let of_all = |read: &dyn Fn(&str) -> f64| processes.iter().map(|pid| read(pid)).collect();
    let switches = |pid: &str| field(host, pid, "status", "_ctxt_switches");
    let before: Vec<f64> = of_all(&switches);
    std::thread::sleep(IDLE);
    let after: Vec<f64> = of_all(&switches);
    let largest = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
    let found = Supervisor {
        private: largest(of_all(&|pid| field(host, pid, "smaps_rollup", "Private_"))),
        share: largest(of_all(&|pid| field(host, pid, "smaps_rollup", "Pss:"))),
        wakeups: largest(after.iter().zip(before).map(|(after, before)| after - before).collect()),
    };
    println!(
        "{CONTAINERS} containers, {:<20} {:6.0} KiB private, {:6.0} KiB PSS, {} wake-ups in {IDLE:?}",
        engine.supervisor(),
        found.private,
        found.share,
        found.wakeups
    );
    units.stop();
    found
}

/// The sum of the numbers whose names hold `part`, in a file of a process (proc(5)).
fn field(host: &Host, pid: &str, file: &str, part: &str) -> f64 {
    let sum = format!("awk '/{part}/ {{ sum += $2 }} END {{ print sum }}' /proc/{pid}/{file}");
    host.sh(&sum).parse().unwrap()
}
