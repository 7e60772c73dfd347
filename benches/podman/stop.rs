//! The stop of a container whose program ends as soon as it is told to.

use std::time::{Duration, Instant};

use crate::generated::{Engine, Units};
use crate::host::Host;
use crate::image::Image;
use crate::measure::{Bound, Goal, median, milliseconds};
use crate::registry::Registry;

const RUNS: usize = 15;

pub(crate) fn compare(host: &Host) -> Vec<Goal> {
    let registry = Registry::start(host);
    registry.push("stop:latest", &Image::app("v1"));
    let image = registry.reference("stop:latest");
    host.sh(&format!("updater-launch pull {image}; podman pull --quiet {image}"));
    registry.down();
    let [ours, theirs] = Engine::BOTH.map(|engine| {
        let by_hand = median((0..RUNS).map(|_| stop(host, engine, &image)).collect());
        let units = Units::write(host, engine, "stop", std::slice::from_ref(&image), "");
        let by_systemd = median((0..RUNS).map(|_| stop_unit(&units)).collect());
        println!(
            "{:<15} stop {:7.1} ms, systemctl stop {:7.1} ms",
            engine.program(),
            milliseconds(by_hand),
            milliseconds(by_systemd)
        );
        (by_hand, by_systemd)
    });
    let goal = |what, time, wanted| Goal { what, measured: milliseconds(time), wanted };
    vec![
        goal("stop of a container, ms", ours.0, Bound::AtMost(50.0)),
        goal("stop of its unit, ms", ours.1, Bound::AtMost(milliseconds(theirs.1))),
    ]
}

/// Until the command comes back, and nothing is left of the container but its record.
fn stop(host: &Host, engine: Engine, image: &str) -> Duration {
    let program = engine.program();
    host.sh(&format!("{program} run --detach --replace --name stop --network host {image}"));
    // Its trap is set when it has said so.
    host.wait_for(&format!("{program} top stop 2>&1 | grep -q sleep"), Duration::from_secs(10));
    let mut command = std::process::Command::new(program);
    command.args(["stop", "stop"]).stdout(std::process::Stdio::null());
    let started = Instant::now();
    let status = command.status().unwrap();
    let time = started.elapsed();
    assert!(status.success(), "{program} stop: {status}");
    host.sh(&format!("{program} rm stop"));
    time
}

/// With all that the unit calls on the way.
fn stop_unit(units: &Units<'_>) -> Duration {
    units.start();
    std::thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    units.stop();
    started.elapsed()
}
