//! Several units in one pass: who waits for whom, and who stops and comes back with whom.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure_quiet, invocation, version};

cases![
    strangers_are_restarted_before_the_first_has_settled,
    units_of_one_image_follow_the_first_side_by_side_and_go_back_together,
    a_client_is_updated_after_its_database_has_settled,
    a_client_is_left_alone_where_its_database_failed,
    those_that_need_a_unit_come_back_after_a_rollback,
    those_that_need_a_unit_come_back_after_an_update,
    who_was_stopped_by_hand_stays_stopped,
    a_dependent_that_cannot_live_with_the_new_image_fails_the_update,
    dependents_come_back_without_a_bus,
];

/// Exit codes of `updaterctl update`, as its manual has them.
const ROLLED_BACK: i32 = 4;

/// A service without a container that needs `db.service`.
const WEB: &str = "[Unit]\nRequires=db.service\nAfter=db.service\n\
                   [Service]\nExecStart=/bin/sleep infinity\n";

fn start(host: &Host, registry: &Registry, name: &str, unit: &str) {
    registry.push(&format!("{name}:latest"), &Image::app("v1"));
    ContainerUnit::new(name, &registry.reference(&format!("{name}:latest")))
        .unit_setting(unit)
        .start(host);
}

fn start_web(host: &Host, text: &str) {
    host.write("/etc/systemd/system/web.service", text);
    host.sh("systemctl daemon-reload && systemctl start web.service");
}

fn state(host: &Host, unit: &str) -> String {
    host.property(unit, "ActiveState")
}

/// What the journal calls a restart, the watch after it, and an update that has settled (`updaterd` in
/// its catalog).
const KINDS: [(&str, &str); 3] = [
    ("restarting", "291a59a0d22941faa089f355cb8627ed"),
    ("verifying", "e4f508a44a544cab8831ca69d4c8b8fe"),
    ("updated", "bcab17d2d3a8428888aa816337cefbf4"),
];

/// These as they came, each as `KIND UNIT`.
fn events(host: &Host) -> Vec<String> {
    let ids = KINDS.map(|(_, id)| format!("MESSAGE_ID={id}")).join(" ");
    let journal = host.sh(&format!("journalctl --sync; journalctl -o json {ids}"));
    let entries =
        journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    entries
        .map(|entry| {
            let (kind, _) = KINDS.iter().find(|(_, id)| entry["MESSAGE_ID"] == *id).unwrap();
            format!("{kind} {}", entry["UNIT"].as_str().unwrap())
        })
        .collect()
}

fn position(events: &[String], event: &str) -> usize {
    let at = events.iter().position(|it| it == event);
    at.unwrap_or_else(|| panic!("no {event:?} in {events:#?}"))
}

fn strangers_are_restarted_before_the_first_has_settled(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        start(host, &registry, name, "");
    }
    for name in names {
        registry.push(&format!("{name}:latest"), &Image::app("v2"));
    }
    host.sh("updaterctl update");
    let events = events(host);
    let settled = events.iter().position(|event| event.starts_with("updated ")).unwrap();
    for name in names {
        assert_eq!(version(host, name), "v2");
        let restarted = position(&events, &format!("restarting {name}.service"));
        assert!(restarted < settled, "{events:#?}");
    }
}

/// The first of them is ready whatever it runs; of a bad image no other one is.
fn units_of_one_image_follow_the_first_side_by_side_and_go_back_together(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    let names = ["a", "b", "c", "d"];
    registry.push("app:latest", &Image::app("v1"));
    for name in names {
        ContainerUnit::new(name, &registry.reference("app:latest"))
            .flag("--volume /srv:/srv")
            .start(host);
    }
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    let told = events(host);
    let at = |event: &str| position(&told, event);
    assert!(at("verifying a.service") < at("restarting b.service"), "{told:#?}");
    for one in ["b", "c", "d"] {
        assert_eq!(version(host, one), "v2");
        for other in ["b", "c", "d"] {
            let restarted = at(&format!("restarting {one}.service"));
            assert!(restarted < at(&format!("verifying {other}.service")), "{told:#?}");
        }
    }

    let run = "trap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done";
    let once = Image::script("v3", &format!("mkdir /srv/v3 || exit 3\n{run}"));
    registry.push("app:latest", &once);
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    for name in names {
        assert_eq!(version(host, name), "v2", "{}", outcome.describe());
        assert_eq!(state(host, &format!("{name}.service")), "active");
    }
    let again = host.run("updaterctl update");
    assert!(again.said().contains("quarantined"), "{}", again.describe());
}

fn a_client_is_updated_after_its_database_has_settled(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start(host, &registry, "db", "");
    start(host, &registry, "app", "Requires=db.service\nAfter=db.service");
    for name in ["app", "db"] {
        registry.push(&format!("{name}:latest"), &Image::app("v2"));
    }
    host.sh("updaterctl update");
    assert_eq!((version(host, "app"), version(host, "db")), ("v2".into(), "v2".into()));
    let events = events(host);
    let settled = position(&events, "updated db.service");
    assert!(settled < position(&events, "restarting app.service"), "{events:#?}");
}

fn a_client_is_left_alone_where_its_database_failed(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start(host, &registry, "db", "");
    start(host, &registry, "app", "BindsTo=db.service\nAfter=db.service");
    registry.push("app:latest", &Image::app("v2"));
    registry.push("db:latest", &Image::crashing_later("v2"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("db.service, which it needs"), "{}", outcome.describe());
    for name in ["app", "db"] {
        assert_eq!(version(host, name), "v1", "{name}");
        assert_eq!(state(host, &format!("{name}.service")), "active");
    }
    // What failed is not tried again, and does not hold up the other for ever.
    host.sh("updaterctl update");
    assert_eq!((version(host, "app"), version(host, "db")), ("v2".into(), "v1".into()));
}

/// systemd stops them with the unit, and says of their start "dependency": nobody else brings them
/// back.
fn those_that_need_a_unit_come_back_after_a_rollback(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start(host, &registry, "db", "");
    start_web(host, WEB);
    host.write(
        "/etc/systemd/system/bound.service",
        "[Unit]\nBindsTo=web.service\nAfter=web.service\n[Service]\nExecStart=/bin/sleep infinity\n",
    );
    host.sh("systemctl daemon-reload && systemctl start bound.service");
    for bad in [Image::app("v2").with("Cmd", ["/no/such/program"]), Image::crashing_later("v3")] {
        registry.push("db:latest", &bad);
        host.fails(ROLLED_BACK, "updaterctl update");
        assert_eq!(version(host, "db"), "v1");
        for unit in ["db.service", "web.service", "bound.service"] {
            assert_eq!(state(host, unit), "active", "{unit}");
        }
    }
}

/// One that loses its connection and ends, with nobody to restart it.
fn those_that_need_a_unit_come_back_after_an_update(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start(host, &registry, "db", "");
    let once = "test -e /run/once || { sleep 0.5; touch /run/once; exit 1; }; exec sleep infinity";
    let text = format!("{WEB}ExecStart=\nExecStart=/bin/sh -c '{once}'\n");
    host.write("/run/once", "");
    start_web(host, &text);
    let main = "/proc/$(systemctl show -P MainPID web.service)";
    host.wait_for(&format!("grep -x sleep {main}/comm"), seconds(10));
    host.sh("rm /run/once");
    registry.push("db:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "db"), "v2");
    assert_eq!(state(host, "web.service"), "active");
    host.sh("test -e /run/once");
}

fn who_was_stopped_by_hand_stays_stopped(host: &Host) {
    let registry = Registry::start(host);
    host.write("/etc/updaterd/updaterd.toml", "schedule = \"timer\"\nsettle = \"8s\"\n");
    start(host, &registry, "db", "");
    start_web(host, WEB);
    let before = invocation(host, "web");
    registry.push("db:latest", &Image::app("v2"));
    host.sh("updaterctl update > /tmp/said 2>&1 & echo $! > /tmp/pid");
    host.wait_until("web.service was restarted with db.service", seconds(30), || {
        version(host, "db") == "v2"
            && state(host, "web.service") == "active"
            && invocation(host, "web") != before
    });
    host.sh("systemctl stop web.service");
    host.wait_for("! kill -0 $(cat /tmp/pid) 2>/dev/null", seconds(30));
    assert_eq!(version(host, "db"), "v2");
    assert_eq!(state(host, "web.service"), "inactive", "{}", host.sh("cat /tmp/said"));
}

fn a_dependent_that_cannot_live_with_the_new_image_fails_the_update(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start(host, &registry, "db", "");
    start_web(
        host,
        "[Unit]\nRequires=db.service\nAfter=db.service\n[Service]\n\
         ExecStartPre=/bin/sh -c '/usr/bin/updater-launch exec db grep -q v1 /app/version'\n\
         ExecStart=/bin/sleep infinity\n",
    );
    registry.push("db:latest", &Image::app("v2"));
    let outcome = host.fails(ROLLED_BACK, "updaterctl update");
    assert!(outcome.said().contains("web.service, which ran before"), "{}", outcome.describe());
    assert_eq!(version(host, "db"), "v1");
    assert_eq!(state(host, "web.service"), "active");
    let again = host.run("updaterctl update");
    assert!(again.said().contains("quarantined"), "{}", again.describe());
}

/// systemd's own socket keeps no unit loaded that is stopped: what it said last is heard instead.
fn dependents_come_back_without_a_bus(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    start(host, &registry, "db", "");
    start_web(host, WEB);
    host.sh("systemctl mask --now dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket");
    registry.push("db:latest", &Image::crashing_later("v2"));
    host.fails(ROLLED_BACK, "updaterctl update");
    assert_eq!(version(host, "db"), "v1");
    assert_eq!(state(host, "web.service"), "active");
}
