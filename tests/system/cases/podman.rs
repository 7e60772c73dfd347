//! Podman's containers: found, updated, rolled back, beside our own.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::podman::{PodmanUnit, configure, version, wait_for_version};
use crate::registry::Registry;
use crate::units::{self, ContainerUnit, configure_every_second, configure_quiet, invocation};

cases![
    both_engines_on_one_host,
    the_confined_service_updates_podmans_containers,
    a_crash_is_rolled_back_and_not_tried_again,
    an_image_that_is_an_index,
];

/// Exit code of `updaterctl update`, as its manual has it.
const ROLLED_BACK: i32 = 4;

fn prepare(host: &Host) -> Registry<'_> {
    configure(host);
    configure_quiet(host);
    Registry::start(host)
}

fn both_engines_on_one_host(host: &Host) {
    let registry = prepare(host);
    for app in ["ours", "theirs"] {
        registry.push(&format!("{app}:latest"), &Image::app("v1"));
    }
    ContainerUnit::new("ours", &registry.reference("ours:latest")).start(host);
    PodmanUnit::new("theirs", &registry.reference("theirs:latest")).start(host);
    let status = host.json("updaterctl status --json");
    let engines: Vec<_> = status["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| (unit["unit"].as_str().unwrap(), unit["engine"].as_str().unwrap()))
        .collect();
    assert_eq!(engines, [("ours.service", "native"), ("theirs.service", "podman")]);
    let check = host.sh("updaterctl check");
    assert!(check.contains("2 up to date"), "{check}");

    for app in ["ours", "theirs"] {
        registry.push(&format!("{app}:latest"), &Image::app("v2"));
    }
    let before = version(host, "theirs");
    let check = host.sh("updaterctl check");
    assert!(check.contains("2 updates available"), "{check}");
    assert_eq!(version(host, "theirs"), before, "a check changes nothing");
    host.sh("updaterctl update");
    assert_eq!(units::version(host, "ours"), "v2");
    assert_eq!(version(host, "theirs"), "v2");
    let check = host.sh("updaterctl check");
    assert!(check.contains("2 up to date"), "{check}");
    // Podman agrees.
    let theirs = host.sh("podman auto-update --dry-run --format '{{.Unit}} {{.Updated}}'");
    assert_eq!(theirs, "theirs.service false");
}

/// The service's unit mounts everything read-only, and Podman works all the same.
fn the_confined_service_updates_podmans_containers(host: &Host) {
    let registry = prepare(host);
    configure_every_second(host);
    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    host.sh("systemctl start updaterd.service");
    registry.push("app:latest", &Image::app("v2"));
    wait_for_version(host, "app", "v2");
    host.wait_for("updaterctl history --json | grep '\"updated\"'", seconds(20));
    let journal = host.journal("MESSAGE_ID=bcab17d2d3a8428888aa816337cefbf4");
    assert!(journal.contains("app.service"), "{journal}");
}

fn a_crash_is_rolled_back_and_not_tried_again(host: &Host) {
    let registry = prepare(host);
    registry.push("app:latest", &Image::app("v1"));
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::crashing_later("v2"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("rolled back"), "{}", outcome.describe());
    assert_eq!(version(host, "app"), "v1");

    let after = invocation(host, "app");
    let again = host.run("updaterctl update");
    assert!(again.said().contains("quarantined"), "{}", again.describe());
    assert_eq!(invocation(host, "app"), after);
    // A restart by hand does not bring the bad image either.
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v1");

    registry.push("app:latest", &Image::app("v3"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v3");
}

/// The digest behind the tag is the index's; what runs is one of its images.
fn an_image_that_is_an_index(host: &Host) {
    let registry = prepare(host);
    registry.push_index("app:latest", &Image::app("v1"), "one");
    PodmanUnit::new("app", &registry.reference("app:latest")).start(host);
    let gets = |host: &Host| {
        host.sh("updaterctl check > /dev/null");
        registry.requests().iter().filter(|request| request.starts_with("GET")).count()
    };
    let before = gets(host);
    assert_eq!(gets(host), before, "what has not changed costs a HEAD");
    // Another index around the same image.
    registry.push_index("app:latest", &Image::app("v1"), "two");
    let running = invocation(host, "app");
    host.sh("updaterctl update");
    assert_eq!(invocation(host, "app"), running);
    registry.push_index("app:latest", &Image::app("v2"), "three");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    let check = host.sh("updaterctl check");
    assert!(check.contains("1 up to date"), "{check}");
}
