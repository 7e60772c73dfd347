//! Units that do not stay active, as a timer runs them: what they are given is verified by how their
//! next run ends.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::podman;
use crate::registry::Registry;
use crate::units::{configure, configure_quiet, invocation, version};

cases![
    a_job_of_a_timer,
    a_job_of_podmans_and_a_timer,
    a_job_that_nobody_remembers,
    a_service_that_waits_looks_when_the_run_ends,
];

/// A run that lasts until it is let go on, and then does this.
fn job(version: &str, end: &str) -> Image {
    let wait = "while [ ! -e /jobs/go ]; do sleep 0.1; done; rm /jobs/go";
    Image::script(version, &format!("{wait}\necho job {version} ends\n{end}"))
}

/// `job.service`, which a timer starts again and again, at work on v1.
fn begin(host: &Host, registry: &Registry, run: &str) {
    registry.push("job:latest", &job("v1", ""));
    let image = registry.reference("job:latest");
    host.sh("mkdir -p /jobs");
    host.write(
        "/etc/systemd/system/job.service",
        &format!(
            "[Service]\nType=oneshot\nDelegate=yes\nKillMode=mixed\nTimeoutStartSec=infinity\n\
             Environment=PODMAN_SYSTEMD_UNIT=%n\n\
             ExecStart={run} --rm --replace --name job --network host --volume /jobs:/jobs \
             --label io.containers.autoupdate=registry {image}\n"
        ),
    );
    host.write(
        "/etc/systemd/system/job.timer",
        "[Timer]\nOnActiveSec=0\nOnUnitInactiveSec=1\nAccuracySec=100ms\n",
    );
    host.sh("systemctl daemon-reload; systemctl start job.timer");
}

/// Lets the run that is at work end, and none begin after it.
fn end_the_last_run(host: &Host) {
    host.sh("systemctl stop job.timer; touch /jobs/go");
    host.wait_until("the run has ended", seconds(20), || {
        let state = host.property("job.service", "ActiveState");
        state == "inactive" || state == "failed"
    });
}

fn follow(host: &Host, registry: &Registry, version: fn(&Host, &str) -> String) {
    let at_work = |expected: &str| {
        host.wait_until(&format!("{expected} is at work"), seconds(30), || {
            version(host, "job") == expected
        });
    };
    at_work("v1");
    let run = invocation(host, "job");
    registry.push("job:latest", &job("v2", "exit 3"));
    let said = host.sh("updaterctl update");
    assert!(said.contains("at its next start"), "{said}");
    assert_eq!(invocation(host, "job"), run, "work is not cut off");
    for verb in ["check", "status", "why job.service"] {
        let said = host.sh(&format!("updaterctl {verb}"));
        assert!(said.contains("waits for its next run"), "{verb}: {said}");
    }
    host.sh("touch /jobs/go");
    at_work("v2");
    let said = host.sh("updaterctl update");
    assert!(said.contains("0 units updated"), "nothing is known yet: {said}");
    // Whoever comes next finds what was written down.
    host.sh("systemctl stop updaterd.service");
    end_the_last_run(host);
    let said = host.sh("updaterctl check");
    assert!(said.contains("waits for its next run"), "also at rest: {said}");
    host.sh("updaterctl update");
    let history = host.sh("updaterctl history job.service -v --limit 1");
    for told in
        ["rolled back", "the unit's next run failed: result exit-code, status 3", "job v2 ends"]
    {
        assert!(history.contains(told), "{told}: {history}");
    }
    assert!(host.sh("updaterctl quarantine list").contains("job.service"));

    host.sh("systemctl reset-failed; systemctl start job.timer");
    at_work("v1");
    let said = host.sh("updaterctl update");
    assert!(said.contains("quarantined digest"), "{said}");
    registry.push("job:latest", &job("v3", "exit 0"));
    host.sh("updaterctl update; touch /jobs/go");
    at_work("v3");
    host.sh("systemctl stop updaterd.service");
    end_the_last_run(host);
    host.sh("updaterctl update");
    let history = host.sh("updaterctl history job.service -v --limit 1");
    assert!(history.contains("updated") && history.contains("ended well"), "{history}");
}

/// What the tag stands for, by whoever starts it.
fn tagged(host: &Host, run: &str, image: &str) -> String {
    host.sh(&format!("{run} --rm --network host {image} cat /app/version"))
}

fn a_job_of_a_timer(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    begin(host, &registry, "/usr/bin/updater-launch run");
    follow(host, &registry, version);
    let image = registry.reference("job:latest");
    assert_eq!(tagged(host, "updater-launch run", &image), "v3");
}

fn a_job_of_podmans_and_a_timer(host: &Host) {
    let registry = podman::prepare(host);
    begin(host, &registry, "/usr/bin/podman run --cgroups=no-conmon");
    follow(host, &registry, podman::version);
    let image = registry.reference("job:latest");
    assert_eq!(tagged(host, "podman run --pull=never", &image), "v3");
}

/// Started by hand, and forgotten by systemd as soon as it has ended well; the tag stays true
/// meanwhile. A run that is stopped by hand proves nothing.
fn a_job_that_nobody_remembers(host: &Host) {
    let registry = Registry::start(host);
    configure_quiet(host);
    begin(host, &registry, "/usr/bin/updater-launch run");
    let image = registry.reference("job:latest");
    host.wait_until("v1 is at work", seconds(30), || version(host, "job") == "v1");
    registry.push("job:latest", &job("v2", "exit 0"));
    host.sh("updaterctl update");
    end_the_last_run(host);
    assert_eq!(tagged(host, "updater-launch run", &image), "v1", "nobody verified the other one");

    let again = |ends: &str| {
        host.sh("systemctl start --no-block job.service");
        host.wait_until("v2 is at work", seconds(30), || version(host, "job") == "v2");
        host.sh("systemctl stop updaterd.service");
        host.sh(ends);
        host.wait_until("it has ended", seconds(30), || version(host, "job").is_empty());
        host.sh("updaterctl update; updaterctl history --limit 1 -v")
    };
    let said = again("systemctl stop job.service");
    assert!(said.contains("at its next start"), "{said}");
    assert!(host.sh("updaterctl check").contains("waits for its next run"));
    let said = again("touch /jobs/go; sleep 1; systemctl daemon-reload");
    assert!(said.contains("its first run with it ended well"), "{said}");
    assert_eq!(tagged(host, "updater-launch run", &image), "v2");
}

/// Without a pass between.
fn a_service_that_waits_looks_when_the_run_ends(host: &Host) {
    let registry = Registry::start(host);
    configure(host, "interval = \"1h\"\njitter = \"0s\"\nsettle = \"2s\"\n");
    begin(host, &registry, "/usr/bin/updater-launch run");
    host.wait_until("v1 is at work", seconds(30), || version(host, "job") == "v1");
    registry.push("job:latest", &job("v2", "exit 3"));
    host.sh("systemctl start updaterd.service; updaterctl update; touch /jobs/go");
    host.wait_until("v2 is at work", seconds(30), || version(host, "job") == "v2");
    host.sh("touch /jobs/go");
    host.wait_for("updaterctl history | grep 'rolled back'", seconds(20));
    host.wait_until("v1 is at work again", seconds(30), || version(host, "job") == "v1");
}
