//! Fifty units started at once, as at boot.

use std::time::{Duration, Instant};

use crate::generated::{Engine, Units};
use crate::host::Host;
use crate::image::Image;
use crate::measure::{Bound, Goal, milliseconds};
use crate::registry::Registry;

const UNITS: usize = 50;

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    let registry = Registry::start(host);
    registry.push("burst:latest", &Image::app("v1"));
    let image = registry.reference("burst:latest");
    host.sh(&format!("updater-launch pull {image}; podman pull --quiet {image}"));
    registry.down();
    let [ours, theirs] = Engine::BOTH.map(|engine| start(host, engine, &image));
    vec![
        Goal {
            what: "50 units at once, times faster than Podman",
            measured: theirs.time.as_secs_f64() / ours.time.as_secs_f64(),
            wanted: Bound::AtLeast(5.0),
        },
        Goal {
            what: "units of 50 that did not start",
            measured: (UNITS - ours.active) as f64,
            wanted: Bound::AtMost(0.0),
        },
    ]
}

struct Start {
    time: Duration,
    active: usize,
}

fn start(host: &Host, engine: Engine, image: &str) -> Start {
    let units = Units::write(host, engine, "burst", &vec![image.to_owned(); UNITS], "");
    let started = Instant::now();
    // A unit that fails is counted, not a reason to end.
    host.run(&format!("systemctl start {}", units.names));
    let time = started.elapsed();
    let active = units.active();
    let stopped = Instant::now();
    units.stop();
    println!(
        "{UNITS} units of {:<20} {:9.1} ms, {active} active; to stop them {:9.1} ms",
        engine.program(),
        milliseconds(time),
        milliseconds(stopped.elapsed()),
    );
    Start { time, active }
}
