//! What happens to a host while an update stands still at a point: its systemd executes itself anew, its
//! images are pruned, its bus goes away, it begins to shut down, the unit is masked or removed, the service is upgraded.

use super::story::{Engine, Plot, Story};
use crate::host::{Host, seconds};
use crate::units::invocation;

const NATIVE: Engine = Engine::Native;

/// By a person, or a timer: what was staged stays for the unit that is to run it, and so does what it goes back
/// to.
pub(super) fn images_are_pruned(host: &Host) {
    for plot in [Plot::Update, Plot::WayBack] {
        let story = Story::begin(host, NATIVE, plot);
        for point in ["after-stage", "before-bind", "before-try-restart", "before-tag"] {
            if plot == Plot::WayBack && point == "before-tag" {
                continue;
            }
            let chapter = story.next();
            story.stand_still(point);
            host.sh("updater-launch image prune --all --force");
            host.fails(2, &format!("updater-launch rmi --force {}", chapter.digest));
            story.go_on();
            assert!(story.is_sound(&chapter, true, point));
            host.sh("updater-launch image check");
        }
        story.close();
    }
}

/// `deb-systemd-invoke`, at each upgrade of systemd's package.
pub(super) fn systemd_executes_itself_anew(host: &Host) {
    for plot in [Plot::Update, Plot::WayBack] {
        let story = Story::begin(host, NATIVE, plot);
        let way_back: &[&str] =
            if plot == Plot::WayBack { &["before-restart", "before-start"] } else { &[] };
        for point in
            ["before-bind", "before-try-restart", "after-try-restart"].iter().chain(way_back)
        {
            let chapter = story.next();
            story.stand_still(point);
            host.sh("systemctl daemon-reexec");
            story.go_on();
            assert!(story.is_sound(&chapter, true, point));
        }
        story.close();
    }
}

/// Whoever was connected to it is not any more; what was under way is taken up by the next start.
pub(super) fn the_bus_goes_away(host: &Host) {
    let story = Story::begin(host, NATIVE, Plot::Update);
    for point in ["before-bind", "before-try-restart", "after-try-restart", "before-tag"] {
        let chapter = story.next();
        story.stand_still(point);
        host.sh("systemctl kill --signal=KILL dbus.service; systemctl reset-failed dbus.service || true");
        host.wait_for("busctl list > /dev/null", seconds(20));
        story.go_on();
        host.wait_for("! systemctl is-active updaterd.service", seconds(20));
        story.start_again();
        // What could not be begun had failed; what was under way is suspended, and goes on.
        assert_eq!(host.property("app.service", "ActiveState"), "active", "{point}");
        assert!(!story.is_quarantined(&chapter), "{point}: {:?}", story.ends(&chapter));
        host.sh("updaterctl update");
        assert_eq!(story.version(), chapter.version, "{point}");
        assert_eq!(story.tag(), (chapter.digest.clone(), String::new()), "{point}");
        story.remember();
    }
}

/// Its stop jobs cannot be taken back: a restart is refused, which proves nothing against the image.
pub(super) fn the_host_shuts_down(host: &Host) {
    let story = Story::begin(host, NATIVE, Plot::Update);
    host.write(
        "/etc/systemd/system/down.target",
        "[Unit]\nConflicts=app.service web.service\nAfter=slow.service\nConflicts=slow.service\n",
    );
    // Who takes its time, and after which the others stop.
    host.write(
        "/etc/systemd/system/slow.service",
        "[Unit]\nAfter=app.service\n[Service]\nExecStart=sleep infinity\nExecStop=sleep 6\n",
    );
    host.sh("systemctl daemon-reload; systemctl start slow.service");
    let chapter = story.next();
    story.stand_still("before-try-restart");
    host.sh("systemctl start --no-block --job-mode=replace-irreversibly down.target");
    story.go_on();
    let said = host.sh("cat /tmp/update");
    assert!(said.contains("suspended"), "{said}");
    assert!(story.is_in_flight() && !story.is_quarantined(&chapter), "{said}");
    host.wait_for("systemctl is-active down.target", seconds(20));
    // The next boot.
    host.sh("systemctl stop down.target updaterd.service; systemctl start app.service web.service");
    story.start_again();
    story.is_sound(&chapter, true, "after the next start");
}

/// It goes on as it is, and has its new image when it can be restarted again.
pub(super) fn the_unit_is_masked_or_removed(host: &Host) {
    let story = Story::begin(host, NATIVE, Plot::Update);
    let file = "/etc/systemd/system/app.service";
    let mask = format!("mv {file} /tmp/app.service; ln -s /dev/null {file}");
    for (how, take) in [("masked", mask), ("removed", format!("mv {file} /tmp/app.service"))] {
        let chapter = story.next();
        story.stand_still("before-try-restart");
        let before = invocation(host, "app");
        host.sh(&format!("{take}; systemctl daemon-reload"));
        story.go_on();
        assert_eq!(host.sh("cat /tmp/status"), "3", "{how}: {}", host.sh("cat /tmp/update"));
        assert_eq!(invocation(host, "app"), before, "{how}: it runs as it did");
        assert!(!story.is_quarantined(&chapter) && !story.is_in_flight(), "{how}");
        assert_eq!(story.version(), chapter.before, "{how}");
        host.sh(&format!("rm -f {file}; mv /tmp/app.service {file}; systemctl daemon-reload"));
        host.sh("updaterctl update");
        assert_eq!(story.version(), chapter.version, "{how}");
        story.remember();
    }
}

/// Its package puts a new program in the place of the one that runs, and restarts the service.
pub(super) fn the_service_is_upgraded(host: &Host) {
    for plot in [Plot::Update, Plot::WayBack] {
        let story = Story::begin(host, NATIVE, plot);
        for point in ["before-save-rollout#1", "before-try-restart", "after-try-restart"] {
            let chapter = story.next();
            story.stand_still(point);
            let pid = host.property("updaterd.service", "MainPID");
            host.sh(
                "cp /usr/bin/updaterd /usr/bin/updaterd.new; mv /usr/bin/updaterd.new /usr/bin/updaterd
                 systemctl daemon-reload; systemctl restart --no-block updaterd.service",
            );
            story.go_on();
            host.wait_until("the new one runs", seconds(60), || {
                let new = host.property("updaterd.service", "MainPID");
                new != pid && host.property("updaterd.service", "ActiveState") == "active"
            });
            story.start_again();
            if !story.is_sound(&chapter, false, point) {
                story.goes_on(&chapter, point);
            }
        }
        story.close();
    }
}
