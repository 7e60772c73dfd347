//! systemd as a container's first process.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::prepare_image;
use crate::units::ContainerUnit;

cases![a_debian_boots_and_stops, what_it_needs_and_when_it_gets_it];

fn a_debian_boots_and_stops(host: &Host) {
    let debian = prepare_image(host, &Image::debian());
    // Ready when its systemd says that it has booted.
    ContainerUnit::new("app", &debian)
        .notified_by_program()
        .flag("--hostname inside")
        .setting("NotifyAccess=main")
        .start(host);
    host.wait_for("updater-launch exec app systemctl is-system-running --wait", seconds(20));
    let inside = |command: &str| host.sh(&format!("updater-launch exec app {command}"));
    assert_eq!(inside("systemctl is-system-running"), "running");
    assert_eq!(inside("systemctl --failed --quiet --plain"), "");
    assert_eq!(inside("systemctl is-active multi-user.target dbus.service"), "active\nactive");
    assert_eq!(inside("systemd-detect-virt --container"), "container-other");
    // Its services have cgroups of their own, below the container's, and its journal is its own.
    inside("systemd-run --quiet --unit=task sleep 1000");
    assert_eq!(
        inside("systemctl show --value --property=ControlGroup task.service"),
        "/system.slice/task.service"
    );
    let groups = "find /sys/fs/cgroup/system.slice/app.service -name task.service";
    assert!(host.sh(groups).contains("/payload-"), "{}", host.sh(groups));
    let id = host.json("updater-launch inspect app")[0]["Id"].as_str().unwrap().to_owned();
    assert_eq!(inside("cat /etc/machine-id"), id[..32]);
    let started = std::time::Instant::now();
    host.sh("systemctl stop app.service");
    // Before anybody had to kill it: it stopped its own services.
    assert!(started.elapsed() < seconds(8), "{:?}", started.elapsed());
    assert_eq!(host.property("app.service", "Result"), "success");
    assert_eq!(host.property("app.service", "ExecMainStatus"), "0");
    assert_eq!(
        host.sh("find /sys/fs/cgroup -name 'payload-*'; updater-launch ps --all --quiet"),
        ""
    );
}

fn what_it_needs_and_when_it_gets_it(host: &Host) {
    let script = "for at in /run /run/lock /tmp /var/log/journal; do
             grep \" $at tmpfs \" /proc/mounts | cut -d ' ' -f 2-4; stat -c %a $at; done
         grep ' /sys/fs/cgroup ' /proc/mounts | cut -d ' ' -f 4 | cut -c 1-2
         echo uuid=$container_uuid";
    let app = prepare_image(host, &Image::script("v1", script).with("StopSignal", "SIGINT"));
    let run = |flags: &str, command: &str| {
        host.sh(&format!("updater-launch run --rm --network host {flags} {app} {command}"))
    };
    let plain = run("", "");
    assert!(plain.starts_with("755\n") && plain.ends_with("ro\nuuid="), "{plain}");
    let always = run("--systemd=always", "");
    for line in [
        "/run tmpfs rw,nosuid,nodev",
        "/run/lock tmpfs rw,nosuid,nodev",
        "/tmp tmpfs rw,nosuid,nodev",
        "/var/log/journal tmpfs rw",
    ] {
        assert!(always.contains(line), "{line}: {always}");
    }
    let modes: Vec<&str> =
        always.lines().filter(|line| line.bytes().all(|b| b.is_ascii_digit())).collect();
    assert_eq!(modes, ["755", "1777", "1777", "755"], "{always}");
    let (_, uuid) = always.split_once("\nrw\nuuid=").unwrap();
    assert!(uuid.len() == 32, "{always}");
    // What the operator mounts stays.
    host.sh("mkdir -p /srv/journal; touch /srv/journal/mine");
    let mounted = run("--systemd=always -v /srv/journal:/var/log/journal", "ls /var/log/journal");
    assert_eq!(mounted, "mine");
    // By the command alone, unless told not to.
    host.write("/srv/init", "#!/bin/sh\nexec env\n");
    let as_init = "-v /srv/init:/sbin/init:ro --entrypoint /sbin/init";
    let has = |environment: String| environment.contains("container_uuid=");
    host.sh("chmod +x /srv/init");
    assert!(has(run(as_init, "")) && !has(run(&format!("{as_init} --systemd=false"), "")));
    let refused = host.fails(
        125,
        &format!(
            "updater-launch run --rm --network host --systemd=always --cgroups=disabled {app}"
        ),
    );
    assert!(refused.stderr.contains("--systemd=false"), "{}", refused.describe());
    // The operator's stop signal, else the image's, is not replaced.
    for (flags, signal) in [("--stop-signal HUP", "HUP"), ("", "SIGINT")] {
        host.sh(&format!(
            "updater-launch create --replace --name made --network host --systemd=always {flags} {app}"
        ));
        assert_eq!(host.json("updater-launch inspect made")[0]["Config"]["StopSignal"], signal);
    }
}
