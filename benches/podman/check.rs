//! A check of 100 units on 100 images, nothing changed, over TLS with a round trip of 20 ms.

use std::time::Duration;

use crate::generated::{Engine, Units};
use crate::host::Host;
use crate::image::Image;
use crate::measure::{Bound, Goal, cost, median, milliseconds, row};
use crate::registry::{Access, Registry};
use crate::relay;
use crate::units::{ContainerUnit, configure};

const UNITS: usize = 100;
const ROUND_TRIP: Duration = Duration::from_millis(20);
const NEAR: u16 = 5001;
const FAR: u16 = 5002;

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    let registry = Registry::start_with(host, Access::Tls, NEAR);
    host.sh(&format!(
        "cp -r /etc/containers/certs.d/localhost:{NEAR} /etc/containers/certs.d/localhost:{FAR}"
    ));
    let carried = relay::start(FAR, NEAR, ROUND_TRIP);
    println!("(pushing {UNITS} images, starting {UNITS} units of each engine)");
    for number in 0..UNITS {
        registry.push(&format!("app{number}:latest"), &Image::app(&format!("v{number}")));
    }
    configure(host, "schedule = \"timer\"\n");
    let pulls = |program: &str| {
        let names = (0..UNITS).map(|number| format!("localhost:{FAR}/app{number}:latest"));
        for name in names {
            host.sh(&format!("{program} pull --quiet {name} > /dev/null"));
        }
    };
    // One engine's containers at a time: neither check should see the other's load.
    pulls("updater-launch");
    for number in 0..UNITS {
        ContainerUnit::new(&format!("app{number}"), &format!("localhost:{FAR}/app{number}:latest"))
            .write(host);
    }
    host.sh(&format!("systemctl start app{{0..{}}}.service", UNITS - 1));
    host.sh("systemctl start updaterd.service");
    let service = || cpu_of(host, "updaterd.service");
    let (before, bytes, cpu) = (registry.requests().len(), carried.bytes(), service());
    let cold = cost("updaterctl", &["check"]);
    let cold_cpu = cold.cpu + (service() - cpu);
    let ours_on_the_wire = carried.bytes() - bytes;
    let requests = registry.requests().len() - before;
    let runs: Vec<_> = (0..5).map(|_| cost("updaterctl", &["check"])).collect();
    let warm = median(runs.iter().map(|run| run.wall).collect());
    let memory = peak_memory(host, &host.property("updaterd.service", "MainPID"));
    host.sh(&format!("systemctl stop updaterd.service app{{0..{}}}.service", UNITS - 1));

    pulls("podman");
    let images: Vec<String> =
        (0..UNITS).map(|number| format!("localhost:{FAR}/app{number}:latest")).collect();
    let labelled = "--label io.containers.autoupdate=registry";
    let units = Units::write(host, Engine::Podman, "app", &images, labelled);
    units.start();
    let dry_run = |program| cost(program, &["auto-update", "--dry-run"]);
    let bytes = carried.bytes();
    let runs_of_theirs: Vec<_> = (0..3).map(|_| dry_run("podman")).collect();
    let theirs_on_the_wire = (carried.bytes() - bytes) / runs_of_theirs.len() as u64;
    let usual = median(runs_of_theirs.iter().map(|run| run.wall).collect());
    let theirs = median_of(&runs_of_theirs, usual);
    // Podman itself, whom we ask what runs, is in it.
    let in_its_place = median((0..5).map(|_| dry_run("updaterctl").wall).collect());
    units.stop();

    row("updaterctl check, first", cold);
    row("updaterctl check, later", median_of(&runs, warm));
    row("podman auto-update --dry-run", theirs);
    println!("updaterctl auto-update --dry-run, of Podman's units: {in_its_place:.2?}");
    println!(
        "CPU of the first check, updaterd's and updaterctl's: {:.1} ms; on the wire {ours_on_the_wire} \
         bytes, Podman's {theirs_on_the_wire}",
        milliseconds(cold_cpu)
    );
    println!("updaterd at its largest: {memory:.1} MiB; {requests} requests for {UNITS} images");
    vec![
        Goal {
            what: "check, times faster than Podman",
            measured: theirs.wall.as_secs_f64() / cold.wall.as_secs_f64(),
            wanted: Bound::AtLeast(40.0),
        },
        Goal {
            what: "check on a connection that is there, times faster than Podman",
            measured: theirs.wall.as_secs_f64() / warm.as_secs_f64(),
            wanted: Bound::AtLeast(100.0),
        },
        Goal {
            what: "CPU of the first check, seconds",
            measured: cold_cpu.as_secs_f64(),
            wanted: Bound::AtMost(0.03),
        },
        Goal {
            what: "bytes on the wire, parts of Podman's",
            measured: ours_on_the_wire as f64 / theirs_on_the_wire as f64,
            wanted: Bound::AtMost(0.2),
        },
        Goal {
            what: "auto-update --dry-run of Podman's units, times faster than Podman",
            measured: theirs.wall.as_secs_f64() / in_its_place.as_secs_f64(),
            wanted: Bound::AtLeast(15.0),
        },
        Goal {
            what: "memory of the daemon, MiB resident",
            measured: memory,
            wanted: Bound::AtMost(10.0),
        },
        Goal {
            what: "requests for an image",
            measured: requests as f64 / UNITS as f64,
            wanted: Bound::AtMost(1.0),
        },
    ]
}

fn median_of(runs: &[crate::measure::Cost], wall: Duration) -> crate::measure::Cost {
    *runs.iter().find(|run| run.wall == wall).unwrap()
}

/// What a running service has used so far.
fn cpu_of(host: &Host, unit: &str) -> Duration {
    Duration::from_nanos(host.property(unit, "CPUUsageNSec").parse().unwrap())
}

/// The largest resident size of a running process so far, MiB (proc(5), `VmHWM`).
pub(crate) fn peak_memory(host: &Host, pid: &str) -> f64 {
    let text = host.sh(&format!("awk '/^VmHWM/ {{ print $2 }}' /proc/{pid}/status"));
    text.parse::<f64>().unwrap() / 1024.0
}
