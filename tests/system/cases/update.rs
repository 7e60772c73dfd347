//! Updates that go well, whoever asks for them.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{
    ContainerUnit, configure_every_second, configure_quiet, invocation, version, wait_for_version,
};

cases![
    the_daemon_notices_a_new_image,
    update_restarts_only_what_changed,
    check_changes_nothing,
    an_unchanged_image_costs_one_request,
    units_on_one_image_cost_one_request,
    an_index_rebuilt_around_the_same_image_restarts_nothing,
    two_updates_at_once_restart_once,
    the_timer_updates,
    a_named_unit_alone_is_updated,
    a_container_without_the_label_is_left_alone,
    a_stopped_unit_is_not_started,
    local_policy_follows_the_local_tag,
];

fn the_daemon_notices_a_new_image(host: &Host) {
    let registry = Registry::start(host);
    configure_every_second(host);
    let old = registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    assert_eq!(version(host, "app"), "v1");
    host.sh("systemctl start updaterd.service");

    let new = registry.push("app:latest", &Image::app("v2"));
    wait_for_version(host, "app", "v2");
    host.wait_for("updaterctl history --json | grep '\"updated\"'", seconds(20));
    let history = host.sh("updaterctl history --json");
    assert!(history.contains(&old) && history.contains(&new), "{history}");
    assert!(host.sh("updaterctl status").contains("app.service"));
}

fn update_restarts_only_what_changed(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("a:latest", &Image::app("a1"));
    registry.push("b:latest", &Image::app("b1"));
    ContainerUnit::new("a", &registry.reference("a:latest")).start(host);
    ContainerUnit::new("b", &registry.reference("b:latest")).start(host);
    let before = invocation(host, "b");

    registry.push("a:latest", &Image::app("a2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "a"), "a2");
    assert_eq!(version(host, "b"), "b1");
    assert_eq!(invocation(host, "b"), before);
    // The tag moved with it: a restart by hand stays on the new image.
    host.sh("systemctl restart a.service");
    assert_eq!(version(host, "a"), "a2");
}

fn check_changes_nothing(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    let before = invocation(host, "app");
    let up_to_date = host.sh("updaterctl check");
    assert!(up_to_date.contains("app.service"), "{up_to_date}");

    let new = registry.push("app:latest", &Image::app("v2"));
    let images = host.sh("updater-launch images");
    let found = host.json("updaterctl check --json").to_string();
    assert!(found.contains("app.service") && found.contains(&new), "{found}");
    assert_eq!(invocation(host, "app"), before);
    assert_eq!(version(host, "app"), "v1");
    assert_eq!(host.sh("updater-launch images"), images);
    assert!(!host.run("updaterctl history --json").stdout.contains("updated"));
}

/// One HEAD for an unchanged image, and nothing else, however often it is asked for.
fn an_unchanged_image_costs_one_request(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    for _ in 0..2 {
        let before = registry.requests().len();
        host.sh("updaterctl update");
        let requests = registry.requests().split_off(before);
        assert_eq!(requests, ["HEAD /v2/app/manifests/latest 200"]);
    }
}

fn units_on_one_image_cost_one_request(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    for unit in ["a", "b", "c"] {
        ContainerUnit::new(unit, &registry.reference("app:latest")).start(host);
    }
    let before = registry.requests().len();
    host.sh("updaterctl check");
    assert_eq!(registry.requests().split_off(before), ["HEAD /v2/app/manifests/latest 200"]);
}

fn an_index_rebuilt_around_the_same_image_restarts_nothing(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    let first = registry.push_index("app:latest", &Image::app("v1"), "first");
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    let before = invocation(host, "app");
    let second = registry.push_index("app:latest", &Image::app("v1"), "second");
    assert_ne!(first, second);
    host.sh("updaterctl update");
    assert_eq!(invocation(host, "app"), before);

    registry.push_index("app:latest", &Image::app("v2"), "third");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

fn two_updates_at_once_restart_once(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::app("v2"));
    // Either both succeed, the second after the first, or the second says who holds the lock.
    host.sh("updaterctl update > /tmp/one 2>&1 & one=$!
         updaterctl update > /tmp/two 2>&1 & two=$!
         status=0; wait $one || status=$?; wait $two || status=$?
         [ $status = 0 ] || grep -i lock /tmp/one /tmp/two");
    assert_eq!(version(host, "app"), "v2");
    let starts = host.journal("--unit=app.service").matches("app v2 started").count();
    assert_eq!(starts, 1);
}

/// The timer really fires: its elapse is brought near, the rest is as installed.
fn the_timer_updates(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::app("v2"));
    host.write(
        "/etc/systemd/system/updaterd-check.timer.d/soon.conf",
        "[Timer]\nOnActiveSec=1s\nAccuracySec=10ms\nRandomizedDelaySec=0\n",
    );
    host.sh("systemctl daemon-reload; systemctl start updaterd-check.timer");
    wait_for_version(host, "app", "v2");
    host.wait_for(
        "[ $(systemctl show --value -p ActiveState updaterd-check.service) = inactive ]",
        seconds(30),
    );
    assert_eq!(host.property("updaterd-check.service", "Result"), "success");
    let history = host.sh("updaterctl history --json");
    assert!(history.contains("timer"), "{history}");
}

fn a_named_unit_alone_is_updated(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    for name in ["a", "b"] {
        registry.push(&format!("{name}:latest"), &Image::app("v1"));
        ContainerUnit::new(name, &registry.reference(&format!("{name}:latest"))).start(host);
        registry.push(&format!("{name}:latest"), &Image::app("v2"));
    }
    host.sh("updaterctl update b.service");
    assert_eq!(version(host, "a"), "v1");
    assert_eq!(version(host, "b"), "v2");
    // The suffix may be left out.
    host.sh("updaterctl update a");
    assert_eq!(version(host, "a"), "v2");
    assert_ne!(host.run("updaterctl update no-such-unit.service").status, 0);
}

fn a_container_without_the_label_is_left_alone(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).unlabelled().start(host);
    let before = registry.requests().len();
    registry.push("app:latest", &Image::app("v2"));
    let pushed = registry.requests().len();
    host.sh("updaterctl update");
    assert!(pushed > before);
    assert_eq!(registry.requests().len(), pushed);
    assert_eq!(version(host, "app"), "v1");
}

fn a_stopped_unit_is_not_started(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    host.wait_for("journalctl -u app.service | grep 'app v1 started'", seconds(10));
    host.sh("systemctl stop app.service");
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(host.property("app.service", "ActiveState"), "inactive");
}

fn local_policy_follows_the_local_tag(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:v1", &Image::app("v1"));
    registry.push("app:v2", &Image::app("v2"));
    let local = registry.reference("app:chosen");
    for tag in ["v1", "v2"] {
        host.sh(&format!("updater-launch pull {}", registry.reference(&format!("app:{tag}"))));
    }
    host.sh(&format!("updater-launch tag {} {local}", registry.reference("app:v1")));
    ContainerUnit::new("app", &local)
        .unlabelled()
        .flag("--label io.containers.autoupdate=local")
        .start(host);
    let before = registry.requests().len();
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v1");
    host.sh(&format!("updater-launch tag {} {local}", registry.reference("app:v2")));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    assert_eq!(registry.requests().len(), before, "the policy local asks no registry");
}
