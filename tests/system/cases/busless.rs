//! A host with systemd and no bus: everything but the D-Bus interface is there.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::someone::Someone;
use crate::units::{
    ContainerUnit, configure, configure_every_second, configure_quiet, version, wait_for_version,
};

cases![
    an_update_and_a_rollback,
    a_stop_by_hand_is_told_from_an_end,
    systemd_executes_itself_anew_while_a_unit_settles,
    the_daemon_works_and_takes_its_name_when_a_bus_comes,
    the_daemon_outlives_its_bus,
    the_timer_updates,
    recovery_finishes_what_was_killed,
    a_user_without_a_bus_updates_too,
];

/// The host as it is where the package dbus is not installed.
fn take_the_bus_away(host: &Host) {
    host.sh("systemctl mask --now dbus.socket dbus.service; rm -f /run/dbus/system_bus_socket
         ! busctl list");
}

/// `app` on v1, without a bus.
fn begin<'host>(host: &'host Host) -> Registry<'host> {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    take_the_bus_away(host);
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry
}

fn an_update_and_a_rollback(host: &Host) {
    let registry = begin(host);
    let status = host.sh("updaterctl status");
    assert!(status.contains("app.service") && status.contains("no bus"), "{status}");
    registry.push("app:latest", &Image::app("v2"));
    assert!(host.sh("updaterctl check").contains("update available"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");

    registry.push("app:latest", &Image::crashing("v3"));
    host.fails(4, "updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    assert!(host.sh("updaterctl quarantine list").contains("localhost:5000/app"));
    host.sh("updaterctl update");
    let history = host.sh("updaterctl history");
    assert!(history.contains("rolled back") && history.contains("updated"), "{history}");

    host.sh("systemctl unmask dbus.socket dbus.service; systemctl start dbus.socket");
    registry.push("app:latest", &Image::app("v4"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v4");
}

/// systemd forgets a unit that is stopped and that nothing refers to, at once.
fn a_stop_by_hand_is_told_from_an_end(host: &Host) {
    let registry = begin(host);
    configure(host, "schedule = \"timer\"\nsettle = \"6s\"\n");
    let ends = Image::script("v2", "sleep 2");
    registry.push("app:latest", &ends);
    let back = host.fails(4, "updaterctl update");
    assert!(back.stdout.contains("the unit is inactive"), "{}", back.describe());
    assert_eq!(version(host, "app"), "v1");

    registry.push("app:latest", &Image::app("v3"));
    let before = host.property("app.service", "InvocationID");
    host.sh("(updaterctl update > /tmp/update 2>&1; echo $? >> /tmp/update) > /dev/null 2>&1 &");
    host.wait_until("v3 settles", seconds(30), || {
        version(host, "app") == "v3" && host.property("app.service", "InvocationID") != before
    });
    host.sh("systemctl stop app.service");
    host.wait_for("grep -qx 0 /tmp/update", seconds(30));
    let said = host.sh("cat /tmp/update");
    assert!(said.contains("stopped meanwhile"), "{said}");
    assert_eq!(host.property("app.service", "ActiveState"), "inactive");
    let quarantine = host.sh("updaterctl quarantine list --json");
    assert_eq!(quarantine.matches("\"manifest\"").count(), 1, "only v2: {quarantine}");
}

fn systemd_executes_itself_anew_while_a_unit_settles(host: &Host) {
    let registry = begin(host);
    configure(host, "schedule = \"timer\"\nsettle = \"6s\"\n");
    registry.push("app:latest", &Image::app("v2"));
    host.sh("(updaterctl update > /tmp/update 2>&1; echo $? >> /tmp/update) > /dev/null 2>&1 &");
    host.wait_until("v2 settles", seconds(30), || version(host, "app") == "v2");
    host.sh("systemctl daemon-reexec");
    host.wait_for("tail -n 1 /tmp/update | grep -qE '^[0-9]+$'", seconds(40));
    let said = host.sh("cat /tmp/update");
    assert!(said.contains("updated") && said.ends_with('0'), "{said}");
    assert_eq!(version(host, "app"), "v2");
}

fn the_daemon_works_and_takes_its_name_when_a_bus_comes(host: &Host) {
    let registry = begin(host);
    configure_every_second(host);
    host.sh("systemctl start updaterd-recover.service updaterd.service");
    registry.push("app:latest", &Image::app("v2"));
    wait_for_version(host, "app", "v2");
    // It outlives a systemd that executes itself anew, and the connection to it.
    host.wait_for("updaterctl history | grep updated", seconds(20));
    host.sh("systemctl daemon-reexec");
    registry.push("app:latest", &Image::crashing("v3"));
    host.wait_for("updaterctl history | grep 'rolled back'", seconds(40));
    assert_eq!(version(host, "app"), "v2");
    host.sh("systemctl reload updaterd.service");
    let log = host.journal("--unit=updaterd.service");
    assert_eq!(log.matches("there is no bus: ").count(), 1, "{log}");
    assert_eq!(host.property("updaterd.service", "NRestarts"), "0");

    let pid = host.property("updaterd.service", "MainPID");
    host.sh("systemctl unmask dbus.socket dbus.service; systemctl start dbus.socket");
    host.wait_for("busctl --system status org.updaterd.Updater1", seconds(30));
    let status = host.sh("updaterctl status");
    assert!(status.starts_with("updaterd ") && status.contains("last check 2"), "{status}");
    registry.push("app:latest", &Image::app("v4"));
    wait_for_version(host, "app", "v4");
    assert_eq!(host.property("updaterd.service", "MainPID"), pid);
    host.sh("systemctl stop updaterd.service");
    assert_eq!(host.property("updaterd.service", "Result"), "success");
}

fn the_daemon_outlives_its_bus(host: &Host) {
    let registry = Registry::start(host);
    configure_every_second(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    host.sh("systemctl start updaterd.service");
    take_the_bus_away(host);
    // It ends with the bus, and is started again.
    host.wait_for("journalctl --unit=updaterd.service | grep 'there is no bus: '", seconds(30));
    registry.push("app:latest", &Image::app("v2"));
    wait_for_version(host, "app", "v2");
}

fn the_timer_updates(host: &Host) {
    let registry = begin(host);
    registry.push("app:latest", &Image::app("v2"));
    host.write(
        "/etc/systemd/system/updaterd-check.timer.d/now.conf",
        "[Timer]\nOnCalendar=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=100ms\n",
    );
    host.sh("systemctl daemon-reload; systemctl start updaterd-check.timer");
    wait_for_version(host, "app", "v2");
    host.wait_for("updaterctl history --json | grep '\"trigger\": \"timer\"'", seconds(20));
    // What the timer leaves to it, the service has nothing to do for.
    host.sh("systemctl start updaterd.service");
    assert_eq!(host.property("updaterd.service", "ActiveState"), "active");
}

fn recovery_finishes_what_was_killed(host: &Host) {
    let registry = begin(host);
    configure(host, "schedule = \"timer\"\nsettle = \"30s\"\n");
    registry.push("app:latest", &Image::app("v2"));
    host.sh("systemd-run --unit=pass --no-block updaterctl update");
    host.wait_until("v2 settles", seconds(30), || version(host, "app") == "v2");
    host.sh("systemctl kill --signal=KILL pass.service");
    configure_quiet(host);
    host.sh("systemctl start updaterd-recover.service");
    assert!(host.sh("updaterctl history").contains("updated"));
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v2");
}

fn a_user_without_a_bus_updates_too(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let someone = Someone::new(host);
    let flags = "--network=host --label io.containers.autoupdate=registry";
    someone.start("app", flags, &registry.reference("app:latest"), "");
    registry.push("app:latest", &Image::app("v2"));
    someone.sh(
        "mkdir -p .config/updaterd
         printf 'interval = \"1s\"\njitter = \"0s\"\nsettle = \"2s\"\n' > .config/updaterd/updaterd.toml",
    );
    // What speaks to their manager from now on does it as systemctl does.
    let theirs = "setpriv --reuid=4000 --regid=4000 --clear-groups env -i HOME=/home/someone \
                  PATH=/usr/bin:/bin XDG_RUNTIME_DIR=/run/user/4000";
    host.sh(&format!(
        "{theirs} systemctl --user mask --now dbus.socket dbus.service
         rm -f /run/user/4000/bus"
    ));
    host.sh(&format!("{theirs} systemctl --user start updaterd-recover.service updaterd.service"));
    let version = || host.run(&format!("{theirs} updater-launch exec app cat /app/version")).stdout;
    host.wait_until("the user's app runs v2", seconds(60), || version().trim() == "v2");
    let history = format!("{theirs} updaterctl history");
    host.wait_for(&format!("{history} | grep updated"), seconds(30));
    host.sh(&format!("{theirs} systemctl --user stop updaterd.service"));
    registry.push("app:latest", &Image::app("v3"));
    host.sh(&format!("{theirs} updaterctl update"));
    assert_eq!(version().trim(), "v3");
}
