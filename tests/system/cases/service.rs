//! The daemon as a service: configuration, readiness, the bus, the journal.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::Registry;
use crate::units::{ContainerUnit, configure, configure_every_second, configure_quiet, version};

cases![
    a_configuration_typo_is_refused_with_its_place,
    a_configuration_typo_is_told_to_who_would_start_it,
    broken_registries_hinder_no_reading,
    another_directory_has_to_be_writable,
    a_reload_with_a_typo_keeps_the_old_configuration,
    drop_ins_count,
    readiness_status_and_watchdog,
    the_bus_starts_the_daemon,
    only_root_may_call_it,
    a_person_sees_what_goes_on,
    a_person_who_leaves_does_not_end_the_update,
    reading_starts_nothing,
    the_journal_tells_each_outcome,
    json_everywhere,
    without_a_bus_name_the_work_is_done_in_process,
    a_user_has_a_daemon_too,
];

fn a_configuration_typo_is_refused_with_its_place(host: &Host) {
    configure(host, "schedule = \"timer\"\nsetle = \"2s\"\n");
    host.fails(1, "systemctl start updaterd.service");
    let log = host.journal("--unit=updaterd.service");
    assert!(log.contains("/etc/updaterd/updaterd.toml:2:") && log.contains("setle"), "{log}");
    // It is not started again and again.
    assert_eq!(host.property("updaterd.service", "ActiveState"), "failed");
    configure_quiet(host);
    host.sh("systemctl start updaterd.service");
}

fn a_configuration_typo_is_told_to_who_would_start_it(host: &Host) {
    configure(host, "schedule = \"timer\"\nsetle = \"2s\"\n");
    let started = std::time::Instant::now();
    let refused = host.run("updaterctl update");
    assert_eq!(refused.status, 1, "{}", refused.describe());
    assert!(refused.stderr.contains("/etc/updaterd/updaterd.toml:2:"), "{}", refused.describe());
    assert!(started.elapsed() < seconds(10), "it waited for a service that cannot start");
    assert_eq!(host.property("updaterd.service", "InvocationID"), "");
}

fn broken_registries_hinder_no_reading(host: &Host) {
    configure_quiet(host);
    host.write("/etc/containers/registries.conf.d/broken.conf", "[[registry]\n");
    for verb in ["status", "history", "quarantine list"] {
        host.sh(&format!("updaterctl {verb}"));
    }
}

fn another_directory_has_to_be_writable(host: &Host) {
    configure(host, "schedule = \"timer\"\n[paths]\nstate = \"/srv/updaterd\"\n");
    host.fails(1, "systemctl start updaterd.service");
    let log = host.journal("--unit=updaterd.service");
    assert!(log.contains("ReadWritePaths=/srv/updaterd"), "{log}");
    assert_eq!(host.property("updaterd.service", "ActiveState"), "failed");
    assert_eq!(host.property("updaterd.service", "ExecMainStatus"), "78");
    for unit in ["updaterd", "updaterd-recover", "updaterd-check"] {
        let drop_in = format!("/etc/systemd/system/{unit}.service.d/paths.conf");
        host.write(&drop_in, "[Service]\nReadWritePaths=/srv/updaterd\n");
    }
    host.sh("mkdir /srv/updaterd; systemctl daemon-reload");
    host.sh("systemctl start updaterd-recover.service updaterd-check.service updaterd.service");
}

fn a_reload_with_a_typo_keeps_the_old_configuration(host: &Host) {
    configure_quiet(host);
    host.sh("systemctl start updaterd.service");
    let pid = host.property("updaterd.service", "MainPID");
    configure(host, "schedule = \"never ever\"\n");
    host.sh("systemctl reload updaterd.service");
    host.wait_for("journalctl -u updaterd.service | grep updaterd.toml", seconds(10));
    host.sh("updaterctl check");
    assert_eq!(host.property("updaterd.service", "MainPID"), pid);
    assert_eq!(host.property("updaterd.service", "ActiveState"), "active");
}

fn drop_ins_count(host: &Host) {
    configure_quiet(host);
    host.write("/etc/updaterd/updaterd.d/50-site.toml", "settle = \"not a time\"\n");
    host.fails(1, "systemctl start updaterd.service");
    let log = host.journal("--unit=updaterd.service");
    assert!(log.contains("/etc/updaterd/updaterd.d/50-site.toml:1:"), "{log}");
}

fn readiness_status_and_watchdog(host: &Host) {
    configure_quiet(host);
    host.write(
        "/etc/systemd/system/updaterd.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=2\n",
    );
    host.sh("systemctl daemon-reload; systemctl start updaterd.service");
    assert_ne!(host.property("updaterd.service", "StatusText"), "");
    let started = std::time::Instant::now();
    host.wait_until("it has outlived its watchdog twice", seconds(10), || {
        started.elapsed() > seconds(5)
    });
    assert_eq!(host.property("updaterd.service", "NRestarts"), "0");
    assert_eq!(host.property("updaterd.service", "ActiveState"), "active");
    host.sh("systemctl stop updaterd.service");
    assert_eq!(host.property("updaterd.service", "Result"), "success");
}

fn the_bus_starts_the_daemon(host: &Host) {
    configure_quiet(host);
    assert_eq!(host.property("updaterd.service", "ActiveState"), "inactive");
    host.sh("updaterctl update");
    assert!(!host.journal("--unit=updaterd.service").is_empty(), "an update starts the service");
}

fn only_root_may_call_it(host: &Host) {
    configure_every_second(host);
    host.sh("systemctl start updaterd.service");
    let call = "busctl --system introspect org.updaterd.Updater1 /org/updaterd/Updater1";
    host.sh(call);
    let refused = host.run(&format!("setpriv --reuid=65534 --clear-groups {call}"));
    assert_ne!(refused.status, 0);
    assert!(refused.said().to_lowercase().contains("denied"), "{}", refused.describe());
    // Whether it runs or not, who asks in vain hears what to do.
    for state in ["start", "stop"] {
        host.sh(&format!("systemctl {state} updaterd.service"));
        for verb in ["status", "update", "check", "history"] {
            let nobody = "setpriv --reuid=65534 --clear-groups updaterctl --system";
            let refused = host.fails(1, &format!("{nobody} {verb}"));
            assert!(refused.stderr.contains("sudo"), "{}", refused.describe());
        }
    }
    // Neither root nor logged in: whose units are meant?
    let lost = host
        .fails(1, "setpriv --reuid=65534 --clear-groups env -i HOME=/ /usr/bin/updaterctl status");
    for part in ["XDG_RUNTIME_DIR", "sudo"] {
        assert!(lost.stderr.contains(part), "{}", lost.describe());
    }
}

fn a_person_sees_what_goes_on(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::app("v2"));
    let told = host.sh("script --quiet --return --command 'updaterctl update' /dev/null");
    assert!(told.contains("app.service: restarting for"), "{told}");
    assert!(told.contains("app.service: updated"), "{told}");
    registry.push("app:latest", &Image::app("v3"));
    let told = host.sh("script --quiet --return --command 'updaterctl update --json' /dev/null");
    assert!(!told.contains("restarting for"), "{told}");
    registry.push("app:latest", &Image::app("v4"));
    let update = host.run("updaterctl update");
    assert_eq!((update.status, update.stderr.as_str()), (0, ""), "{}", update.describe());
}

fn a_person_who_leaves_does_not_end_the_update(host: &Host) {
    let registry = Registry::start(host);
    configure(host, "schedule = \"timer\"\nsettle = \"4s\"\n");
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::app("v2"));
    let left = host.fails(130, "timeout --preserve-status --signal=INT 2 updaterctl update");
    assert!(left.stderr.contains("updaterd goes on"), "{}", left.describe());
    host.wait_for("updaterctl history | grep updated", seconds(30));
    assert_eq!(version(host, "app"), "v2");
}

fn reading_starts_nothing(host: &Host) {
    configure_quiet(host);
    for (verb, told) in [
        ("status", "updaterd is not running"),
        ("history", "Nothing was updated yet"),
        ("history typo", "No update of typo.service is recorded"),
    ] {
        let text = host.sh(&format!("updaterctl {verb}"));
        assert!(text.contains(told), "{text}");
    }
    assert_eq!(host.property("updaterd.service", "ActiveState"), "inactive");
    assert_eq!(host.property("updaterd.service", "InvocationID"), "");
}

fn the_journal_tells_each_outcome(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    let old = registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    let new = registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    let updated = entry(host, "bcab17d2d3a8428888aa816337cefbf4");
    for (field, expected) in [
        ("OBJECT_SYSTEMD_UNIT", "app.service"),
        ("UNIT", "app.service"),
        ("IMAGE", registry.reference("app:latest").as_str()),
        ("OLD_DIGEST", old.as_str()),
        ("NEW_DIGEST", new.as_str()),
    ] {
        assert_eq!(updated[field], expected, "{field} in {updated}");
    }
    assert!(updated["OUTCOME"].is_string(), "{updated}");
    // Who looks at the unit sees what was done to it, beside what it logs itself.
    let log = host.journal("--unit=app.service");
    assert!(log.contains("updated") && log.contains("app v2 started"), "{log}");
    let catalog = host.sh("journalctl --catalog MESSAGE_ID=bcab17d2d3a8428888aa816337cefbf4");
    assert!(catalog.contains("app.service was updated"), "{catalog}");

    registry.push("app:latest", &Image::crashing("v3"));
    host.run("updaterctl update");
    let rolled_back = entry(host, "95b6ed3598b842ccb1c1378eed8bc8d5");
    assert_eq!(rolled_back["UNIT"], "app.service");
}

/// The one journal entry with this MESSAGE_ID.
fn entry(host: &Host, message: &str) -> serde_json::Value {
    host.json(&format!("journalctl --sync; journalctl --output=json MESSAGE_ID={message}"))
}

fn json_everywhere(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    for verb in ["check", "update", "status", "history"] {
        host.json(&format!("updaterctl {verb} --json"));
    }
}

fn without_a_bus_name_the_work_is_done_in_process(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    host.sh("rm /usr/share/dbus-1/system-services/org.updaterd.Updater1.service
         busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig");
    registry.push("app:latest", &Image::app("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &Image::app("v2"));
    host.sh("updaterctl update");
    assert_eq!(version(host, "app"), "v2");
    assert_eq!(host.property("updaterd.service", "InvocationID"), "");
}

fn a_user_has_a_daemon_too(host: &Host) {
    host.sh("useradd --create-home --uid 4000 someone; loginctl enable-linger someone");
    host.wait_for("systemctl is-active user@4000.service", seconds(20));
    let user = "systemctl --user --machine=someone@";
    host.wait_for(&format!("{user} is-active dbus.socket"), seconds(20));
    host.sh(&format!("{user} start updaterd-recover.service updaterd.service"));
    host.sh(&format!("{user} is-active updaterd.service"));
    host.sh(&format!("{user} stop updaterd.service"));
    assert_eq!(host.sh(&format!("{user} show --value -p Result updaterd.service")), "success");
}
