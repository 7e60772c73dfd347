//! What `make install` puts where.

use crate::host::{Host, seconds};

cases![
    units_verify,
    nothing_is_outside_destdir,
    manuals_are_there,
    an_edited_configuration_stays,
    a_bus_that_has_not_read_the_policy,
];

fn units_verify(host: &Host) {
    let units =
        "updaterd.service updaterd-recover.service updaterd-check.service updaterd-check.timer";
    let system =
        host.run(&format!("cd /usr/lib/systemd/system; systemd-analyze verify --man=no {units}"));
    assert!(system.status == 0 && system.said().is_empty(), "{}", system.describe());
    let user = host.run(
        "cd /usr/lib/systemd/user; systemd-analyze verify --user --man=no \
         updaterd.service updaterd-recover.service updaterd-check.service updaterd-check.timer",
    );
    let complaints: Vec<&str> =
        user.stderr.lines().filter(|line| line.contains("updaterd")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    for unit in ["updaterd.service", "updaterd-recover.service", "updaterd-check.service"] {
        // On systemd's scale, 3.2 of 10.
        host.sh(&format!("systemd-analyze security --no-pager --threshold=32 {unit}"));
    }
    host.sh("systemctl enable updaterd.service updaterd-recover.service updaterd-check.timer");
}

fn nothing_is_outside_destdir(host: &Host) {
    let programs = crate::host::programs().display();
    host.sh(&format!(
        "touch /tmp/before
         make --silent --no-print-directory -C {} install DESTDIR=/tmp/stage PREFIX=/opt/updaterd BUILT={programs}
         [ -x /tmp/stage/opt/updaterd/bin/updaterd ]
         [ -s /tmp/stage/etc/updaterd/updaterd.toml ]
         grep -q '^ExecStart=/opt/updaterd/bin/updaterd$' /tmp/stage/opt/updaterd/lib/systemd/system/updaterd.service
         ! grep -r '@bindir@' /tmp/stage --include='*.service'
         [ -z \"$(find /usr /etc /opt -xdev -newer /tmp/before -name '*updater*')\" ]",
        env!("CARGO_MANIFEST_DIR"),
    ));
}

fn manuals_are_there(host: &Host) {
    for page in [
        "man1/updaterctl.1",
        "man1/updater-launch.1",
        "man5/updaterd.toml.5",
        "man5/org.updaterd.Updater1.5",
        "man8/updaterd.8",
    ] {
        host.sh(&format!("[ -s /usr/share/man/{page} ]"));
    }
}

fn an_edited_configuration_stays(host: &Host) {
    let install = format!(
        "make --silent --no-print-directory -C {} install DESTDIR=/tmp/stage BUILT={}",
        env!("CARGO_MANIFEST_DIR"),
        crate::host::programs().display(),
    );
    host.sh(&install);
    host.sh("echo 'schedule = \"timer\"' > /tmp/stage/etc/updaterd/updaterd.toml");
    host.sh(&install);
    let kept = host.sh("cat /tmp/stage/etc/updaterd/updaterd.toml");
    assert_eq!(kept, "schedule = \"timer\"");
}

/// As after an installation on a running host, where nobody told the bus.
fn a_bus_that_has_not_read_the_policy(host: &Host) {
    let policy = "/usr/share/dbus-1/system.d/org.updaterd.Updater1.conf";
    let reload = "systemctl reload dbus.service";
    host.sh(&format!("mv {policy} /tmp; {reload}"));
    host.fails(1, "systemctl start updaterd.service");
    let log = host.journal("--unit=updaterd.service");
    assert!(log.contains("\"systemctl reload dbus.service\" has it read who may"), "{log}");
    let update = host.fails(1, "updaterctl update");
    assert!(update.stderr.contains("systemctl reload dbus.service"), "{}", update.describe());
    host.sh(&format!("mv /tmp/org.updaterd.Updater1.conf {policy}; {reload}"));
    // It tries again by itself.
    host.wait_for("systemctl is-active updaterd.service", seconds(30));
    host.sh("updaterctl update");
}
