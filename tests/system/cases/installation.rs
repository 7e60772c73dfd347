//! What `make install` puts where.

use crate::host::Host;

cases![units_verify, nothing_is_outside_destdir, manuals_are_there, an_edited_configuration_stays];

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
