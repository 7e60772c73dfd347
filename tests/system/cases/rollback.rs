//! Images that do not work: put back, remembered, not tried again.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{
    ContainerUnit, configure, configure_every_second, configure_quiet, invocation, version,
    wait_for_version,
};

cases![
    a_crash_is_rolled_back_and_not_tried_again,
    a_crash_after_readiness_is_rolled_back,
    a_program_that_never_is_ready_is_rolled_back,
    an_image_that_cannot_be_run_is_rolled_back,
    a_failing_first_unit_spares_the_second,
    units_that_restart_themselves_are_rolled_back_too,
    an_old_image_that_fails_too_needs_an_operator,
    a_unit_whose_data_migrates_forward_is_stopped_and_told,
    the_daemon_goes_on_to_the_next_good_image,
];

/// Exit codes of `updaterctl update`, as its manual has them.
const ROLLED_BACK: i32 = 4;
const NEEDS_OPERATOR: i32 = 5;

fn start_app(host: &Host, registry: &Registry) {
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    assert_eq!(version(host, "app"), "v1");
}

fn a_crash_is_rolled_back_and_not_tried_again(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start_app(host, &registry);
    let bad = registry.push("app:latest", &Image::crashing("v2"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("rolled back"), "{}", outcome.describe());
    assert_eq!(version(host, "app"), "v1");
    assert_eq!(host.property("app.service", "ActiveState"), "active");

    let after = invocation(host, "app");
    let again = host.run("updaterctl update");
    assert!(again.said().contains("quarantined"), "{}", again.describe());
    assert_eq!(invocation(host, "app"), after);
    let history = host.sh("updaterctl history --json");
    assert!(history.contains(&bad), "{history}");
    // What it wrote last is there, and what systemd said of it; of what goes on now there is nothing.
    let full = host.sh("updaterctl history app -v");
    for told in ["app: app v2 crashes", "systemd: app.service: Main process exited, code=exited"] {
        assert!(full.contains(told), "{told}: {full}");
    }
    assert!(!full.contains("app v1 started"), "{full}");
    for (asked, found) in [
        ("app --since 1h --outcome rolled-back --limit 1", 1),
        ("--unit other", 0),
        ("--outcome updated,failed", 0),
        ("--since 0s", 0),
    ] {
        let entries = host.json(&format!("updaterctl history --json {asked}"));
        assert_eq!(entries.as_array().map(Vec::len), Some(found), "{asked}: {entries}");
    }
    // A restart by hand does not bring the bad image either.
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v1");

    registry.push("app:latest", &Image::app("v3"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v3");
    assert!(!host.sh("updaterctl history app -v -n 1").contains("journal"));
}

/// systemd saw the unit start: only the settle time tells.
fn a_crash_after_readiness_is_rolled_back(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start_app(host, &registry);
    registry.push("app:latest", &Image::crashing_later("v2"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("rolled back"), "{}", outcome.describe());
    assert_eq!(version(host, "app"), "v1");
}

fn a_program_that_never_is_ready_is_rolled_back(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::notifying("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .notified_by_program()
        .setting("TimeoutStartSec=4")
        .start(host);
    registry.push("app:latest", &Image::app("v2"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("rolled back"), "{}", outcome.describe());
    assert_eq!(version(host, "app"), "v1");

    registry.push("app:latest", &Image::notifying("v3"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v3");
}

fn an_image_that_cannot_be_run_is_rolled_back(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start_app(host, &registry);
    registry.push("app:latest", &Image::app("v2").with("Cmd", ["/no/such/program"]));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("rolled back"), "{}", outcome.describe());
    assert_eq!(version(host, "app"), "v1");
}

fn a_failing_first_unit_spares_the_second(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    for unit in ["one", "two"] {
        ContainerUnit::new(unit, &registry.reference("app:latest")).start(host);
    }
    let before = ["one", "two"].map(|unit| invocation(host, unit));
    registry.push("app:latest", &Image::crashing("v2"));
    host.fails(ROLLED_BACK, "updaterctl update");
    let after = ["one", "two"].map(|unit| invocation(host, unit));
    let untouched = before.iter().zip(&after).filter(|(before, after)| before == after).count();
    assert_eq!(untouched, 1, "one unit is the canary, the other is left alone");
    for unit in ["one", "two"] {
        assert_eq!(version(host, unit), "v1");
    }

    registry.push("app:latest", &Image::app("v3"));
    host.sh("updaterctl update");
    for unit in ["one", "two"] {
        assert_eq!(version(host, unit), "v3");
    }
}

/// With `Restart=always` such a unit never reads `failed`.
fn units_that_restart_themselves_are_rolled_back_too(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .setting("Restart=always\nRestartSec=100ms")
        .start(host);
    registry.push("app:latest", &Image::crashing_later("v2"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("rolled back"), "{}", outcome.describe());
    wait_for_version(host, "app", "v1");
}

/// What fails whatever the image is not the image's fault: it is told, and nothing is quarantined.
fn an_old_image_that_fails_too_needs_an_operator(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    host.write("/srv/works", "yes\n");
    let script = |version: &str| {
        Image::script(
            version,
            "grep -q yes /srv/works || exit 4\ntrap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done",
        )
    };
    registry.push("app:latest", &script("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .flag("--volume /srv:/srv")
        .start(host);
    // It is ready as soon as it is executed; it must have looked before the file changes.
    host.wait_for("updater-launch exec app ps | grep '[s]leep 1000'", seconds(10));
    host.write("/srv/works", "no\n");
    registry.push("app:latest", &script("v2"));
    let outcome = host.fails(NEEDS_OPERATOR, "updaterctl update");
    assert!(outcome.said().contains("operator"), "{}", outcome.describe());
    // It runs no container, and is shown all the same.
    let status = host.sh("updaterctl status");
    assert!(status.contains("app.service") && status.contains("not running"), "{status}");
    let check = host.fails(3, "updaterctl check");
    assert!(check.stdout.contains("needs an operator"), "{}", check.describe());

    host.write("/srv/works", "yes\n");
    host.sh("systemctl reset-failed app.service; systemctl restart app.service");
    let status = host.sh("updaterctl status");
    assert!(status.contains("followed"), "it was mended: {status}");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

/// One of two units on an image, which are both not to meet the old one again; the way out is a new
/// image, or a command.
fn a_unit_whose_data_migrates_forward_is_stopped_and_told(host: &Host) {
    let registry = Registry::start(host);
    let never = "rollback = \"never\"\n[unit.\"b.service\"]\nrollback = \"never\"\n";
    configure(host, &format!("schedule = \"timer\"\nsettle = \"2s\"\n{never}"));
    registry.push("app:latest", &Image::app("v1"));
    for name in ["a", "b"] {
        ContainerUnit::new(name, &registry.reference("app:latest"))
            .setting("Restart=always\nRestartSec=100ms")
            .start(host);
    }
    let before = invocation(host, "b");
    registry.push("app:latest", &Image::crashing_later("v2"));
    let outcome = host.fails(NEEDS_OPERATOR, "updaterctl update");
    let told = "the unit is stopped, and keeps the new image";
    assert!(outcome.said().contains(told), "{}", outcome.describe());
    // A stop between two runs leaves it "failed".
    let state = host.property("a.service", "ActiveState");
    assert!(matches!(state.as_str(), "inactive" | "failed"), "{state}");
    let journal = host.journal("--priority=err --identifier=updaterd");
    assert!(journal.contains("needs an operator") && journal.contains(told), "{journal}");
    let why = host.fails(3, "updaterctl why a");
    assert!(why.stdout.contains("needed an operator"), "{}", why.describe());
    assert!(why.stdout.contains("systemd restarted it"), "{}", why.describe());
    let history = host.sh("updaterctl history a");
    assert!(history.contains("needs an operator"), "{history}");
    let check = host.fails(3, "updaterctl check");
    assert!(check.stdout.contains("needs an operator"), "{}", check.describe());
    // The other one is not to be stopped next.
    assert!(host.run("updaterctl update").said().contains("quarantined"));
    assert_eq!((version(host, "b"), invocation(host, "b")), ("v1".to_owned(), before));

    registry.push("app:latest", &Image::app("v3"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "b"), "v3");
    host.sh("systemctl start a.service");
    assert_eq!(version(host, "a"), "v3");
}

fn the_daemon_goes_on_to_the_next_good_image(host: &Host) {
    let registry = Registry::start(host);
    configure_every_second(host);
    start_app(host, &registry);
    host.sh("systemctl start updaterd.service");
    registry.push("app:latest", &Image::crashing("v2"));
    host.wait_for("updaterctl history | grep 'rolled back'", seconds(40));
    wait_for_version(host, "app", "v1");
    let settled = invocation(host, "app");
    let checks = registry.requests().len();
    host.wait_until("three more checks", seconds(20), || registry.requests().len() >= checks + 3);
    assert_eq!(invocation(host, "app"), settled, "the bad image was tried again");
    registry.push("app:latest", &Image::app("v3"));
    wait_for_version(host, "app", "v3");
}
