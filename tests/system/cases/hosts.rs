//! Registries' hosts that are dead, beside one that is not.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure_quiet, version};

cases![a_host_that_drops_packets_delays_nobody];

const DEAD: &str = "10.255.255.1:5000";

/// More than are asked for at once.
const IMAGES: usize = 20;

/// A network whose packets nobody takes: a connection to a host there never comes about.
fn black_hole(host: &Host) {
    host.sh(
        "ip tuntap add dev void mode tun; ip link set void up; ip addr add 10.255.255.2/24 dev void",
    );
}

/// `app` on a registry that answers, and units on many images of one that does not, which sort before.
fn start_all(host: &Host, registry: &Registry) {
    registry.push("app:latest", &Image::app("v1"));
    let live = registry.reference("app:latest");
    ContainerUnit::new("app", &live).start(host);
    for number in 0..IMAGES {
        let image = format!("{DEAD}/app{number}:latest");
        host.sh(&format!("updater-launch tag {live} {image}"));
        ContainerUnit::new(&format!("dead{number}"), &image).place(host);
    }
    host.sh(&format!("systemctl daemon-reload; systemctl start dead{{0..{}}}", IMAGES - 1));
}

fn a_host_that_drops_packets_delays_nobody(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    black_hole(host);
    start_all(host, &registry);
    registry.push("app:latest", &Image::app("v2"));
    let asked = || {
        let requests = registry.requests();
        requests.iter().filter(|request| *request == "HEAD /v2/app/manifests/latest 200").count()
    };
    let before = asked();

    let start = std::time::Instant::now();
    host.sh("systemd-run --collect --unit=pass updaterctl update");
    // A connection is waited for 10 s.
    let answers = "the registry that answers is asked beside the other one";
    host.wait_until(answers, seconds(5), || asked() > before);
    let updated = "and its unit is updated after one wait, not one for each 16 images";
    host.wait_until(updated, seconds(18).saturating_sub(start.elapsed()), || {
        version(host, "app") == "v2"
    });
    host.wait_until("the pass ends", seconds(20), || {
        host.run("systemctl is-active pass.service").status != 0
    });

    let start = std::time::Instant::now();
    let soon = host.fails(3, "updaterctl update --trigger=timer");
    assert!(soon.stdout.contains("cooling down until"), "{}", soon.describe());
    assert!(start.elapsed() < seconds(5), "{:?}", start.elapsed());
}
