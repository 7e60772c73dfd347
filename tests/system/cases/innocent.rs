//! What happens to a unit during its update that is not the image's fault.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure, configure_quiet, invocation, version};

cases![
    a_stop_by_hand_that_takes_a_while,
    a_stop_by_hand_of_a_program_that_ignores_it,
    a_restart_by_hand_while_it_settles,
    a_unit_that_was_started_too_often,
    a_unit_whose_needs_are_not_met,
    a_need_that_was_not_met_once,
    a_job_that_is_at_work,
    a_unit_whose_file_is_gone,
    a_bad_image_that_a_person_replaces,
    a_service_in_which_somebody_left_a_container,
    a_script_that_leaves_its_containers_to_its_unit,
];

/// `app` on v1 with v2 in the registry; an update of it is under way, and v2 settles.
fn settle(host: &Host, registry: &Registry, v1: &Image, v2: &Image, unit: ContainerUnit) {
    configure(host, "schedule = \"timer\"\nsettle = \"8s\"\n");
    registry.push("app:latest", v1);
    unit.start(host);
    let before = invocation(host, "app");
    registry.push("app:latest", v2);
    host.sh("(updaterctl update > /tmp/update 2>&1; echo $? > /tmp/status) > /dev/null 2>&1 &");
    host.wait_until("the unit is up again", seconds(30), || {
        invocation(host, "app") != before && host.property("app.service", "ActiveState") == "active"
    });
}

fn stopped(host: &Host) {
    host.wait_for("test -s /tmp/status", seconds(30));
    let said = host.sh("cat /tmp/update /tmp/status");
    assert!(said.contains("stopped meanwhile"), "{said}");
    assert!(said.ends_with('0'), "{said}");
    assert_ne!(host.property("app.service", "ActiveState"), "active", "it stays stopped");
    let quarantine = host.sh("updaterctl quarantine list");
    assert!(!quarantine.contains("sha256") && !quarantine.contains("localhost"), "{quarantine}");
    host.sh("systemctl start app.service");
    assert_eq!(version(host, "app"), "v1", "what did not prove itself is not kept");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2", "nor is it held against it");
}

fn a_stop_by_hand_that_takes_a_while(host: &Host) {
    let registry = Registry::start(host);
    let slow = |version: &str| {
        Image::script(version, "trap 'sleep 2; exit 0' TERM\nwhile :; do sleep 0.1; done")
    };
    let unit = ContainerUnit::new("app", &registry.reference("app:latest"));
    settle(host, &registry, &slow("v1"), &slow("v2"), unit);
    host.sh("systemctl stop app.service");
    stopped(host);
}

fn a_stop_by_hand_of_a_program_that_ignores_it(host: &Host) {
    let registry = Registry::start(host);
    let deaf = |version: &str| Image::script(version, "trap '' TERM\nwhile :; do sleep 0.1; done");
    let unit = ContainerUnit::new("app", &registry.reference("app:latest"));
    settle(host, &registry, &deaf("v1"), &deaf("v2"), unit.flag("--stop-timeout 2"));
    host.sh("systemctl stop app.service");
    stopped(host);
}

fn a_restart_by_hand_while_it_settles(host: &Host) {
    let registry = Registry::start(host);
    let unit = ContainerUnit::new("app", &registry.reference("app:latest"));
    settle(host, &registry, &Image::app("v1"), &Image::app("v2"), unit);
    host.sh("systemctl restart app.service");
    host.wait_for("test -s /tmp/status", seconds(40));
    assert_eq!(host.sh("cat /tmp/status"), "0");
    assert_eq!(version(host, "app"), "v2");
}

fn a_unit_that_was_started_too_often(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .unit_setting("StartLimitIntervalSec=1h\nStartLimitBurst=3")
        .start(host);
    host.sh("systemctl restart app.service; systemctl restart app.service");
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

/// Neither image can start: that is for an operator, and the new one may come when it is mended.
fn a_unit_whose_needs_are_not_met(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    host.write(
        "/etc/systemd/system/key.service",
        "[Service]\nType=oneshot\nExecStart=test -e /key\n",
    );
    host.sh("touch /key");
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .unit_setting("Requires=key.service\nAfter=key.service")
        .start(host);
    host.sh("rm /key");
    registry.push("app:latest", &Image::app("v2"));
    let failed = host.fails(5, "updaterctl update");
    for told in ["the restart job ended with \"dependency\"", "and on the way back"] {
        assert!(failed.said().contains(told), "{}", failed.describe());
    }
    assert_eq!(host.json("updaterctl quarantine list --json"), serde_json::json!([]));
    host.sh("touch /key; systemctl start app.service");
    assert_eq!(version(host, "app"), "v1");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

/// The old image is back; the new one waits for an operator, and is not tried at every turn.
fn a_need_that_was_not_met_once(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    host.write(
        "/etc/systemd/system/key.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'test -e /once || exit 0; rm /once; exit 1'\n",
    );
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .unit_setting("Requires=key.service\nAfter=key.service")
        .start(host);
    registry.push("app:latest", &Image::app("v2"));
    host.sh("touch /once");
    let outcome = host.fails(5, "updaterctl update --json");
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let told = &report["outcomes"][0];
    assert_eq!((&told["result"], &told["restored"]), (&"needs-operator".into(), &true.into()));
    let advice = told["detail"].as_str().unwrap();
    assert!(advice.contains("\"dependency\"") && advice.contains("updaterctl update app.service"));
    assert_eq!(version(host, "app"), "v1");
    assert_eq!(host.json("updaterctl quarantine list --json"), serde_json::json!([]));
    assert!(host.sh("updaterctl status").contains("needs an operator"));
    let explained = host.sh("journalctl --catalog OUTCOME=needs-operator");
    assert!(explained.contains("was taken back, and an operator is needed"), "{explained}");

    let before = invocation(host, "app");
    let said = host.sh("updaterctl update --trigger timer");
    assert!(said.contains("is put off until"), "{said}");
    assert_eq!(invocation(host, "app"), before, "an outage at every turn helps nobody");
    host.sh("touch /once");
    let podmans = host.sh("updaterctl auto-update --format '{{.Unit}} {{.Updated}}'");
    assert_eq!(podmans, "app.service rolled back");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

fn a_job_that_is_at_work(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest"))
        .kind("oneshot")
        .setting("TimeoutStartSec=infinity")
        .write(host);
    host.sh("systemctl start --no-block app.service");
    host.wait_until("the job is at work", seconds(20), || version(host, "app") == "v1");
    let at_work = invocation(host, "app");
    registry.push("app:latest", &Image::app("v2"));
    let said = host.sh("updaterctl update");
    assert!(said.contains("at its next start"), "{said}");
    assert_eq!((version(host, "app"), invocation(host, "app")), ("v1".to_owned(), at_work));
    host.sh("systemctl stop app.service; systemctl start --no-block app.service");
    host.wait_until("the next job has the new image", seconds(20), || version(host, "app") == "v2");
}

fn a_unit_whose_file_is_gone(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    let running = invocation(host, "app");
    host.sh("mv /etc/systemd/system/app.service /tmp; systemctl daemon-reload");
    registry.push("app:latest", &Image::app("v2"));
    let outcome = host.fails(3, "updaterctl update");
    assert!(outcome.said().contains("app.service not found"), "{}", outcome.describe());
    assert_eq!((version(host, "app"), invocation(host, "app")), ("v1".to_owned(), running));
}

fn a_bad_image_that_a_person_replaces(host: &Host) {
    let registry = Registry::start(host);
    configure(host, "schedule = \"timer\"\nsettle = \"2s\"\nrollback = false\n");
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::crashing("v2"));
    host.fails(3, "updaterctl update");
    assert_eq!(host.property("app.service", "ActiveState"), "failed");
    registry.push("app:latest", &Image::app("v3"));
    host.sh(&format!("updater-launch pull {}", registry.reference("app:latest")));
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v3");
}

/// A unit whose script runs `app` in the background, and goes on by `then`.
fn script(host: &Host, registry: &Registry, kind: &str, then: &str) {
    let image = registry.reference("app:latest");
    let text = format!(
        "updater-launch run -d --rm --replace --name app --network host \\\n\
         --label io.containers.autoupdate=registry {image}\n{then}\n"
    );
    host.write("/usr/local/bin/jobs", &text);
    let unit =
        format!("[Service]\n{kind}\nDelegate=yes\nExecStart=/bin/bash /usr/local/bin/jobs\n");
    host.write("/etc/systemd/system/jobs.service", &unit);
    host.sh("systemctl daemon-reload; systemctl start jobs.service");
    host.wait_until("app runs v1", seconds(20), || version(host, "app") == "v1");
}

fn a_service_in_which_somebody_left_a_container(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    // As a service that carries out jobs does: also where the job has let go of it.
    script(host, &registry, "Type=exec", "exec sleep infinity");
    let running = invocation(host, "jobs");
    registry.push("app:latest", &Image::app("v2"));
    let refused = host.fails(3, "updaterctl update");
    assert!(refused.stdout.contains("only a guest in jobs.service"), "{}", refused.describe());
    let status = host.sh("updaterctl status");
    assert!(status.contains("no unit: only a guest in jobs.service"), "{status}");
    assert_eq!((version(host, "app"), invocation(host, "jobs")), ("v1".to_owned(), running));

    // Its author says that the service is there for it.
    script(host, &registry, "Type=exec\nEnvironment=PODMAN_SYSTEMD_UNIT=%n", "exec sleep infinity");
    host.sh("systemctl restart jobs.service");
    host.wait_until("app runs v1 again", seconds(20), || version(host, "app") == "v1");
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}

fn a_script_that_leaves_its_containers_to_its_unit(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    script(host, &registry, "Type=oneshot\nRemainAfterExit=yes", "");
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}
