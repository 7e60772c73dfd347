//! What an operator asks: why a unit is not updated, and what is wrong with the host.

use crate::host::Host;
use crate::image::Image;
use crate::podman::{self, PodmanUnit};
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure_quiet};

cases![why_tells_how_a_unit_stands, why_tells_who_shares_podmans_tag];

/// Exit codes of `updaterctl`, as its manual has them.
const FAILED: i32 = 1;
const PARTLY: i32 = 3;

fn begin(host: &Host) -> (Registry<'_>, String) {
    configure_quiet(host);
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let reference = registry.reference("app:latest");
    (registry, reference)
}

/// The answer is one line where there is nothing to warn of.
fn why(host: &Host, unit: &str) -> String {
    let said = host.sh(&format!("updaterctl why {unit}"));
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn why_tells_how_a_unit_stands(host: &Host) {
    let (registry, reference) = begin(host);
    ContainerUnit::new("app", &reference).start(host);
    assert!(why(host, "app").contains("up to date"));
    host.fails(FAILED, "updaterctl why nobody");

    registry.push("app:latest", &Image::app("v2"));
    assert!(why(host, "app").contains("\"updaterctl update app.service\" does it now"));
    host.sh("updaterctl update");
    assert!(why(host, "app").contains("its last update ended well"));
    let bad = registry.push("app:latest", &Image::crashing("v3"));
    host.fails(4, "updaterctl update");
    let clear = format!("updaterctl quarantine clear {}", &bad["sha256:".len()..][..12]);
    let said = why(host, "app");
    assert!(said.contains("quarantined digest") && said.contains(&clear), "{said}");
    host.sh("updaterctl rollback app");
    let said = why(host, "app");
    assert!(said.contains("its last update was taken back by hand"), "{said}");
    let answer = host.json("updaterctl why app --json");
    assert_eq!(answer["skipped"][0]["reason"], "quarantined", "{answer}");
    assert_eq!(answer["last"]["result"], "reverted", "{answer}");

    registry.down();
    let said = host.fails(PARTLY, "updaterctl why app");
    assert!(said.stdout.contains("check failed"), "{}", said.describe());
    host.sh("systemctl stop app.service");
    assert!(why(host, "app").contains("start it, or add the label"));
}

fn why_tells_who_shares_podmans_tag(host: &Host) {
    podman::configure(host);
    let (_registry, reference) = begin(host);
    PodmanUnit::new("app", &reference).start(host);
    PodmanUnit::new("held", &reference).policy("disabled").start(host);
    PodmanUnit::new("beside", &reference).unlabelled().start(host);
    let said = host.sh("updaterctl why app");
    for (container, why) in [("held", "is disabled"), ("beside", "has no update label")] {
        assert!(said.contains(&format!("warning: container {container} {why}")), "{said}");
    }
    let said = host.sh("updaterctl why held");
    assert!(said.starts_with("held.service: left alone"), "{said}");
    assert!(said.contains("warning: container held is disabled"), "{said}");
    host.sh("updaterctl check --json | grep -q '\"unlabelled\"'");
}
