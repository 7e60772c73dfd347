//! Death in the middle: what the next start finds, it finishes or rolls back.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure, configure_quiet, version, wait_for_version};

cases![
    the_daemon_killed_while_an_update_settles,
    the_daemon_stopped_after_a_reload,
    the_daemon_killed_before_a_rollback,
    recovery_at_boot_where_the_timer_schedules,
    a_power_cut_before_a_rollback,
    the_launcher_killed_under_a_unit,
    containers_outlive_the_daemon,
];

const SETTLING: &str = "systemctl show --value -p InvocationID app.service";

/// `app` on v1, then an update to `next` that is killed as soon as the unit was restarted.
fn interrupt(host: &Host, registry: &Registry, next: &Image) {
    configure(host, "schedule = \"timer\"\nsettle = \"30s\"\n");
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    let before = host.sh(SETTLING);
    registry.push("app:latest", next);
    host.sh("systemctl start updaterd.service");
    host.sh("updaterctl update > /tmp/update 2>&1 &");
    host.wait_for(&format!("[ $({SETTLING}) != {before} ]"), seconds(30));
    host.sh("systemctl kill --signal=KILL updaterd.service");
}

fn the_daemon_killed_while_an_update_settles(host: &Host) {
    let registry = Registry::start(host);
    interrupt(host, &registry, &Image::app("v2"));
    configure_quiet(host);
    host.sh("systemctl reset-failed updaterd.service; systemctl restart updaterd.service");
    wait_for_version(host, "app", "v2");
    host.wait_for("updaterctl history | grep updated", seconds(30));
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v2");
}

fn the_daemon_stopped_after_a_reload(host: &Host) {
    let registry = Registry::start(host);
    configure(host, "schedule = \"timer\"\nsettle = \"6s\"\n");
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    let before = host.sh(SETTLING);
    registry.push("app:latest", &Image::app("v2"));
    host.sh("systemctl start updaterd.service");
    host.sh("updaterctl update > /tmp/update 2>&1 &");
    host.wait_for(&format!("[ $({SETTLING}) != {before} ]"), seconds(30));
    host.sh("systemctl reload updaterd.service; systemctl stop updaterd.service");
    let history = host.sh("updaterctl history");
    assert!(history.contains("updated"), "what was in flight came to its end: {history}");
}

fn the_daemon_killed_before_a_rollback(host: &Host) {
    let registry = Registry::start(host);
    interrupt(host, &registry, &Image::crashing("v2"));
    configure_quiet(host);
    host.sh("systemctl reset-failed updaterd.service; systemctl restart updaterd.service");
    host.wait_for("updaterctl history | grep 'rolled back'", seconds(40));
    wait_for_version(host, "app", "v1");
}

fn recovery_at_boot_where_the_timer_schedules(host: &Host) {
    let registry = Registry::start(host);
    interrupt(host, &registry, &Image::crashing("v2"));
    host.sh("systemctl stop updaterd.service");
    configure_quiet(host);
    host.sh("systemctl start updaterd-recover.service");
    wait_for_version(host, "app", "v1");
    assert_eq!(host.property("updaterd-recover.service", "Result"), "success");
    assert!(host.sh("updaterctl history").contains("rolled back"));
}

/// All that ran is gone, and so is /run; then the units that are enabled start, at once.
fn a_power_cut_before_a_rollback(host: &Host) {
    let registry = Registry::start(host);
    interrupt(host, &registry, &Image::crashing("v2"));
    configure_quiet(host);
    host.sh("systemctl kill --signal=KILL app.service || true
         systemctl stop updaterd.service app.service; systemctl reset-failed; rm -r /run/updaterd
         systemctl enable updaterd-recover.service
         systemctl add-wants multi-user.target app.service
         systemctl start --no-block multi-user.target");
    host.wait_for("updaterctl history | grep 'rolled back'", seconds(60));
    wait_for_version(host, "app", "v1");
    assert_eq!(host.property("updaterd-recover.service", "Result"), "success");
    assert!(host.sh("updaterctl check").contains("quarantined"));
}

fn the_launcher_killed_under_a_unit(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    host.sh("kill -KILL $(systemctl show --value -p MainPID app.service)");
    host.wait_for("systemctl is-failed app.service", seconds(20));
    // With its launcher: who is about to end has left its cgroup, by which systemd judges, before.
    host.wait_for("test -z \"$(updater-launch ps --quiet)\"", seconds(20));
    host.sh("systemctl start app.service");
    assert_eq!(version(host, "app"), "v1");
}

fn containers_outlive_the_daemon(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    host.sh("systemctl start updaterd.service; systemctl stop updaterd.service");
    assert_eq!(version(host, "app"), "v1");
    assert!(host.sh("updater-launch ps").contains("app"));
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
}
