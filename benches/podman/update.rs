//! Twenty units on twenty images, all of them changed, over TLS with a round trip of 20 ms: from the
//! command to the last restart's end, and to the last verdict.

use std::time::Duration;

use crate::generated::{Engine, Units};
use crate::host::Host;
use crate::image::Image;
use crate::measure::{Bound, Goal, milliseconds};
use crate::registry::{Access, Registry};
use crate::relay;
use crate::units::configure;

const UNITS: usize = 20;
const ROUND_TRIP: Duration = Duration::from_millis(20);
const SETTLE: Duration = Duration::from_secs(10);
const NEAR: u16 = 5011;
const FAR: u16 = 5012;

/// What an update took, from its command on.
struct Took {
    /// Until the last unit had started again.
    restarts: Duration,
    /// Until the command's end.
    verdict: Duration,
}

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    let registry = Registry::start_with(host, Access::Tls, NEAR);
    host.sh(&format!(
        "cp -r /etc/containers/certs.d/localhost:{NEAR} /etc/containers/certs.d/localhost:{FAR}"
    ));
    relay::start(FAR, NEAR, ROUND_TRIP);
    println!("(pushing {UNITS} images, starting {UNITS} units)");
    push(&registry, "v1");
    let settle = SETTLE.as_secs();
    configure(host, &format!("schedule = \"timer\"\nsettle = \"{settle}s\"\n"));
    let images: Vec<String> =
        (0..UNITS).map(|number| format!("localhost:{FAR}/update{number}:latest")).collect();
    let labelled = "--label io.containers.autoupdate=registry";
    let units = Units::write(host, Engine::Podman, "update", &images, labelled);
    units.start();
    let [theirs, ours] = [("podman", "v2"), ("updaterctl", "v3")].map(|(program, version)| {
        push(&registry, version);
        let took = update(host, program);
        println!(
            "{program:<12} {:9.1} ms to the last restart's end, {:9.1} ms to the last verdict",
            milliseconds(took.restarts),
            milliseconds(took.verdict),
        );
        took
    });
    units.stop();
    vec![
        Goal {
            what: "20 changed units to the last restart's end, times faster than Podman",
            measured: theirs.restarts.as_secs_f64() / ours.restarts.as_secs_f64(),
            wanted: Bound::AtLeast(4.0),
        },
        Goal {
            what: "from there to the last verdict, settle times",
            measured: (ours.verdict - ours.restarts).as_secs_f64() / SETTLE.as_secs_f64(),
            wanted: Bound::AtMost(1.1),
        },
    ]
}

fn push(registry: &Registry, version: &str) {
    for number in 0..UNITS {
        let image = Image::app(&format!("{version} of {number}"));
        registry.push(&format!("update{number}:latest"), &image);
    }
}

/// Updates all units with a program's `auto-update`.
fn update(host: &Host, program: &str) -> Took {
    let begun = monotonic();
    let updated = host.sh(&format!("{program} auto-update --format '{{{{.Updated}}}}'"));
    let verdict = monotonic() - begun;
    assert_eq!(updated.matches("true").count(), UNITS, "{updated}");
    let show = "systemctl show -P ActiveEnterTimestampMonotonic";
    let started = host.sh(&format!("{show} update{{0..{}}}.service", UNITS - 1));
    let last = started.split_whitespace().map(|time| time.parse::<u64>().unwrap()).max();
    Took { restarts: Duration::from_micros(last.unwrap()) - begun, verdict }
}

/// Now, on the clock of systemd's timestamps.
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}
