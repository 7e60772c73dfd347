//! Health checks: who is checked, what is known of it, and what follows from it.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::{Registry, prepare_image};
use crate::units::{ContainerUnit, configure_quiet, version};

cases![
    the_state_follows_the_checks,
    the_images_check_is_honoured,
    a_check_that_hangs_is_ended_with_all_it_started,
    a_unit_is_ready_when_its_container_is_healthy,
    actions_on_an_unhealthy_container,
    a_startup_comes_first,
    an_update_to_an_unhealthy_image_goes_back,
    nothing_wakes_up_between_two_checks,
    checks_that_mean_nothing_are_refused,
];

/// Runs until it is told to stop.
const APP: &str = "trap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done";
/// Passes while there is `/tmp/ok` in the container.
const OK: &str = "--health-cmd 'cat /tmp/ok' --health-interval 200ms --health-retries 2";

fn app(host: &Host) -> String {
    prepare_image(host, &Image::script("v1", APP))
}

fn run(flags: &str, image: &str) -> String {
    format!("updater-launch run -d --name app --network host {flags} {image}")
}

/// `State.Health` of the container `app`.
fn health(host: &Host) -> serde_json::Value {
    host.json("updater-launch inspect app")[0]["State"]["Health"].clone()
}

fn wait_for(host: &Host, status: &str) {
    // While its unit starts it again, there is none of the name.
    let inspect = "updater-launch inspect --format '{{.State.Health.Status}}' app";
    host.wait_until(status, seconds(15), || host.run(inspect).stdout.trim() == status);
}

fn the_state_follows_the_checks(host: &Host) {
    let app = app(host);
    host.sh(&run(OK, &app));
    wait_for(host, "unhealthy");
    assert!(host.sh("updater-launch ps").contains("(unhealthy)"));
    let listed = |state: &str| host.sh(&format!("updater-launch ps -q --filter health={state}"));
    assert!(!listed("unhealthy").is_empty() && listed("healthy").is_empty());
    let failed = health(host);
    let last = failed["Log"].as_array().unwrap().last().unwrap().clone();
    assert!(failed["FailingStreak"].as_u64() >= Some(2), "{failed}");
    assert_eq!(last["ExitCode"], 1, "{failed}");
    assert!(last["Output"].as_str().unwrap().contains("/tmp/ok"), "{failed}");
    let told = host.fails(1, "updater-launch healthcheck run app");
    assert_eq!(told.stdout, "unhealthy\n");
    host.sh(
        "updater-launch exec app sh -c 'echo fine > /tmp/ok'; updater-launch healthcheck run app",
    );
    wait_for(host, "healthy");
    assert!(host.sh("updater-launch ps").contains("(healthy)"));
    assert_eq!(health(host)["FailingStreak"], 0);
    host.wait_until("only the last results are kept", seconds(15), || {
        let log = health(host)["Log"].as_array().unwrap().clone();
        log.len() == 5 && log.iter().all(|checked| checked["Output"] == "fine\n")
    });
    // By hand alone, where nothing is checked by itself.
    host.sh("updater-launch rm --force --time 0 app");
    host.sh(&run(&OK.replace("200ms", "disable"), &app));
    assert_eq!(health(host)["Status"], "starting");
    for streak in 1..=2 {
        host.fails(1, "updater-launch healthcheck run app");
        assert_eq!(health(host)["FailingStreak"], streak);
    }
    assert_eq!(health(host)["Status"], "unhealthy");
    host.sh("updater-launch stop --time 0 app");
    host.fails(125, "updater-launch healthcheck run app");
    host.fails(125, "updater-launch healthcheck run nothing");
}

fn the_images_check_is_honoured(host: &Host) {
    let check = serde_json::json!({
        "Test": ["CMD-SHELL", "test -e /tmp/ok"], "Interval": 1_000_000_000, "Retries": 1,
    });
    let image = Image::script("v1", APP).with("Healthcheck", check);
    let app = prepare_image(host, &image);
    host.sh(&run("", &app));
    wait_for(host, "unhealthy");
    assert_eq!(health(host)["FailingStreak"], 1);
    host.sh("updater-launch rm --force --time 0 app");
    // A flag replaces what it names, and no more.
    host.sh(&run("--health-interval 100ms --health-retries 3", &app));
    wait_for(host, "unhealthy");
    assert_eq!(health(host)["Log"][2]["ExitCode"], 1);
    host.sh("updater-launch rm --force --time 0 app");
    for flags in ["--no-healthcheck", "--health-cmd none"] {
        host.sh(&run(flags, &app));
        assert_eq!(health(host)["Status"], "");
        let refused = host.fails(125, "updater-launch healthcheck run app");
        assert!(refused.stderr.contains("no health check"), "{}", refused.describe());
        host.sh("updater-launch rm --force --time 0 app");
    }
    // As the container's user, with its environment.
    let look = "--user 1000 -e A=b --health-cmd '[ $(id -u)$A = 1000b ]'";
    host.sh(&run(look, &app));
    wait_for(host, "healthy");
}

fn a_check_that_hangs_is_ended_with_all_it_started(host: &Host) {
    let app = app(host);
    let check = "--health-cmd 'sleep 4711 & sleep 4712; true' --health-interval 100ms \
                 --health-timeout 1s --health-retries 1";
    host.sh(&run(&format!("--rm {check}"), &app));
    host.wait_for("pgrep -fx 'sleep 4712'", seconds(15));
    wait_for(host, "unhealthy");
    let log = health(host);
    assert_eq!(log["Log"][0]["ExitCode"], -1, "{log}");
    // Of several checks that hung, the last alone may still be there.
    host.wait_until("three have failed", seconds(15), || {
        health(host)["FailingStreak"].as_u64() >= Some(3)
    });
    host.sh("[ $(pgrep -cfx 'sleep 471[12]') -le 2 ]");
    // And it holds up no stop.
    let started = std::time::Instant::now();
    host.sh("updater-launch stop app");
    assert!(started.elapsed() < seconds(3), "{:?}", started.elapsed());
    host.wait_for("! pgrep -fx 'sleep 471[12]'", seconds(5));
    host.wait_for("! pgrep -f '[h]ealthcheck probe'", seconds(5));
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}

fn a_unit_is_ready_when_its_container_is_healthy(host: &Host) {
    let app = app(host);
    ContainerUnit::new("app", &app)
        .flag(&format!("--sdnotify=healthy {OK}"))
        .setting("NotifyAccess=main")
        .setting("WatchdogSec=3")
        .write(host);
    host.sh("systemctl start --no-block app.service");
    wait_for(host, "unhealthy");
    assert_eq!(host.property("app.service", "ActiveState"), "activating");
    host.wait_until("its status says why", seconds(10), || {
        host.property("app.service", "StatusText").starts_with("unhealthy: 2 checks failed")
    });
    host.sh("updater-launch exec app touch /tmp/ok");
    let state = |wanted: &str| {
        host.wait_until(wanted, seconds(10), || {
            host.property("app.service", "ActiveState") == wanted
        });
    };
    state("active");
    assert_eq!(host.property("app.service", "StatusText"), "healthy");
    // Each check that passes feeds the watchdog.
    std::thread::sleep(seconds(4));
    assert_eq!(host.property("app.service", "ActiveState"), "active");
    host.sh("updater-launch exec app rm /tmp/ok");
    host.wait_until("the watchdog bites", seconds(15), || {
        host.property("app.service", "Result") == "watchdog"
    });
    let without = format!("updater-launch run --sdnotify=healthy --network host {app}");
    let refused = host.fails(125, &without);
    assert!(refused.stderr.contains("needs a health check"), "{}", refused.describe());
}

fn actions_on_an_unhealthy_container(host: &Host) {
    let app = app(host);
    let check = "--health-cmd 'test ! -e /tmp/bad' --health-interval 100ms --health-retries 1";
    let unit = |action: &str| {
        let flags = format!("{check} --health-on-failure {action}");
        ContainerUnit::new("app", &app)
            .flag(&flags)
            .setting("Restart=on-failure\nRestartSec=0")
            .start(host);
        wait_for(host, "healthy");
        host.sh("updater-launch exec app touch /tmp/bad");
    };
    // The program ends well when it is asked to: for the unit, it has failed all the same.
    for action in ["kill", "restart"] {
        unit(action);
        host.wait_until(action, seconds(15), || host.property("app.service", "NRestarts") == "1");
        wait_for(host, "healthy");
        let log = host.journal("--unit=app.service");
        assert!(log.contains("container app is unhealthy: a check failed"), "{log}");
        host.sh("systemctl stop app.service; systemctl reset-failed app.service || true");
    }
    unit("stop");
    host.wait_until("stopped", seconds(15), || {
        host.property("app.service", "ActiveState") == "inactive"
    });
    assert_eq!(host.property("app.service", "Result"), "success");
    unit("none");
    wait_for(host, "unhealthy");
    assert_eq!(host.property("app.service", "ActiveState"), "active");
    host.sh("systemctl stop app.service");
    // Where no unit starts it again, its supervisor does.
    let by_hand = run(&format!("{check} --health-on-failure restart"), &app);
    host.sh(&format!("systemd-run --quiet --scope {by_hand}"));
    let started = || host.json("updater-launch inspect app")[0]["State"]["StartedAt"].clone();
    let before = started();
    wait_for(host, "healthy");
    host.sh("updater-launch exec app touch /tmp/bad");
    host.wait_until("it is started again", seconds(15), || started() != before);
    host.sh("updater-launch rm --force --time 0 app");
    // By --restart, whose count it is.
    host.sh(&run(&format!("{check} --health-on-failure kill --restart on-failure:5"), &app));
    wait_for(host, "healthy");
    host.sh("updater-launch exec app touch /tmp/bad");
    host.wait_until("it is started again", seconds(15), || {
        host.json("updater-launch inspect app")[0]["RestartCount"] == 1
    });
    host.sh("updater-launch rm --force --time 0 app");
}

fn a_startup_comes_first(host: &Host) {
    let app = app(host);
    let startup = "--health-startup-cmd 'test -e /tmp/up' --health-startup-interval 100ms \
                   --health-startup-success 2";
    host.sh(&run(&format!("{OK} {startup}"), &app));
    // Failures of the regular check would have shown by now.
    host.wait_until("the startup was checked", seconds(15), || {
        health(host)["Log"].as_array().is_some_and(|log| log.len() == 5)
    });
    assert_eq!(
        (&health(host)["Status"], &health(host)["FailingStreak"]),
        (&"starting".into(), &0.into())
    );
    host.sh("updater-launch exec app touch /tmp/up");
    wait_for(host, "unhealthy");
    host.sh("updater-launch rm --force --time 0 app");
    // One that never comes up ends, for its unit to try again.
    ContainerUnit::new("app", &app)
        .flag(&format!("{OK} {startup} --health-startup-retries 3"))
        .setting("Restart=on-failure\nRestartSec=0")
        .start(host);
    host.wait_until("it is started again", seconds(15), || {
        host.property("app.service", "NRestarts") == "1"
    });
    host.sh("systemctl stop app.service");
}

fn an_update_to_an_unhealthy_image_goes_back(host: &Host) {
    let check = |test: &str| {
        serde_json::json!({
            "Test": ["CMD-SHELL", test], "Interval": 1_000_000_000, "Retries": 2,
        })
    };
    let image =
        |version: &str, test: &str| Image::script(version, APP).with("Healthcheck", check(test));
    let registry = Registry::start(host);
    configure_quiet(host);
    registry.push("app:latest", &image("v1", "true"));
    ContainerUnit::new("app", &registry.reference("app:latest")).start(host);
    registry.push("app:latest", &image("v2", "false"));
    host.run("updaterctl update app.service");
    assert_eq!(version(host, "app"), "v1");
    let history = host.sh("updaterctl history --json");
    assert!(history.contains("health checks failed in a row"), "{history}");
    // One that becomes healthy after the settle time, but in its own, is waited for.
    let late = "test $(cut -d . -f 1 /proc/uptime) -ge $(cat /tmp/at 2> /dev/null || { u=$(cut -d . -f 1 /proc/uptime); echo $((u + 4)) | tee /tmp/at; })";
    let slow = serde_json::json!({
        "Test": ["CMD-SHELL", late], "Interval": 1_000_000_000, "StartPeriod": 20_000_000_000u64,
    });
    registry.push("app:latest", &Image::script("v3", APP).with("Healthcheck", slow));
    host.sh("updaterctl update app.service");
    assert_eq!(version(host, "app"), "v3");
    assert_eq!(health(host)["Status"], "healthy");
}

fn nothing_wakes_up_between_two_checks(host: &Host) {
    let app = app(host);
    host.sh(&run("--health-cmd true --health-interval 1h", &app));
    wait_for(host, "healthy");
    let supervisor = host.json("updater-launch inspect app")[0]["State"]["ConmonPid"].to_string();
    let switches = || host.sh(&format!("grep -h ctxt_switches /proc/{supervisor}/status"));
    let before = switches();
    std::thread::sleep(seconds(2));
    assert_eq!(switches(), before);
    host.sh("updater-launch rm --force --time 0 app");
}

fn checks_that_mean_nothing_are_refused(host: &Host) {
    let app = app(host);
    for (flags, told) in [
        ("--health-interval 5s", "--health-interval needs a health check"),
        ("--health-on-failure kill", "--health-on-failure needs a health check"),
        ("--health-cmd true --health-startup-success 2", "needs --health-startup-cmd"),
        ("--health-cmd ''", "needs a command"),
        ("--health-cmd true --health-timeout 10ms", "shortest timeout"),
        ("--health-cmd true --health-interval 5", "not a time"),
        ("--health-cmd true --health-retries 0", "--health-retries"),
        ("--health-cmd true --no-healthcheck", "cannot be used with"),
    ] {
        let refused = host.fails(125, &run(flags, &app));
        assert!(refused.stderr.contains(told), "{flags}: {}", refused.describe());
    }
    let broken = Image::script("v1", APP).with("Healthcheck", serde_json::json!({"Test": ["x"]}));
    let registry = Registry::start_with(host, crate::registry::Access::Plain, 5001);
    registry.push("app:latest", &broken);
    let refused = host.fails(125, &run("", &registry.reference("app:latest")));
    assert!(refused.stderr.contains("HEALTHCHECK cannot be understood"), "{}", refused.describe());
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}
