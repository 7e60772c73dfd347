//! Death in the middle: what the next start finds, it finishes or rolls back.

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::impostor::{Impostor, pass_on};
use crate::registry::{Access, Registry};
use crate::units::{ContainerUnit, configure, configure_quiet, version, wait_for_version};

cases![
    the_daemon_killed_while_an_update_settles,
    the_daemon_stopped_after_a_reload,
    the_daemon_killed_before_a_rollback,
    recovery_at_boot_where_the_timer_schedules,
    a_power_cut_before_a_rollback,
    the_launcher_killed_under_a_unit,
    containers_outlive_the_daemon,
    a_pull_that_is_ended_keeps_whole_layers_only,
    a_unit_that_is_stopped_while_it_pulls,
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

/// `localhost:5000/app:latest`, whose largest layer comes half, and then nothing more.
fn stalls(host: &Host) -> Impostor {
    let registry = Registry::start_with(host, Access::Plain, 5001);
    let mut layer = Layer::new();
    let mut random = fastrand::Rng::with_seed(1);
    for number in 0..8 {
        let mut noise = vec![0; 1 << 20];
        random.fill(&mut noise);
        layer.file(&format!("large/{number}"), 0o644, &noise);
    }
    registry.push("app:latest", &Image::app("v1").layer(layer));
    host.write(
        "/etc/containers/registries.conf.d/5000.conf",
        "[[registry]]\nlocation = \"localhost:5000\"\ninsecure = true\n",
    );
    let impostor = Impostor::start(5000);
    impostor.reply(|request| {
        let mut answer = pass_on(5001, request);
        if answer.len() > 4 << 20 {
            answer.truncate(answer.len() / 2);
        }
        answer.into()
    });
    impostor.stay();
    impostor
}

const WORK: &str = "ls -d /var/lib/updaterd/tmp/*/*/large/2";

/// The layer that was whole is there, and nothing else; with it the next pull is done.
#[track_caller]
fn assert_whole_layers_only(host: &Host, impostor: &Impostor) {
    assert_eq!(host.sh("ls /var/lib/updaterd/tmp; updater-launch images --quiet"), "");
    assert_eq!(host.sh("ls /var/lib/updaterd/layers/sha256/*/ | grep -c large || true"), "0");
    assert_ne!(host.sh("ls /var/lib/updaterd/layers/sha256"), "");
    let blobs = |requests: Vec<String>| requests.iter().filter(|it| it.contains("/blobs/")).count();
    let first = blobs(impostor.requests());
    impostor.reply(|request| pass_on(5001, request).into());
    host.sh("updater-launch pull localhost:5000/app:latest");
    assert_eq!(blobs(impostor.requests()), 2, "of {first}: the configuration, and one layer");
}

fn a_pull_that_is_ended_keeps_whole_layers_only(host: &Host) {
    let impostor = stalls(host);
    for signal in ["TERM", "HUP"] {
        impostor.requests();
        host.sh(&format!(
            "rm -rf /var/lib/updaterd/*
             updater-launch pull localhost:5000/app:latest > /tmp/pull 2>&1 & pull=$!
             until {WORK} > /dev/null 2>&1; do sleep 0.1; done
             sleep 1
             kill -{signal} $pull
             wait $pull && exit 1; [ $? = $((128 + $(kill -l {signal}))) ]"
        ));
        assert!(host.sh("cat /tmp/pull").contains("ended by signal"));
    }
    assert_whole_layers_only(host, &impostor);
}

fn a_unit_that_is_stopped_while_it_pulls(host: &Host) {
    let impostor = stalls(host);
    ContainerUnit::new("app", "localhost:5000/app:latest").write(host);
    host.sh("systemctl start --no-block app.service");
    host.wait_for(WORK, seconds(20));
    std::thread::sleep(seconds(1));
    host.sh("systemctl stop app.service");
    assert!(host.journal("--unit=app.service").contains("before the container ran"));
    assert_whole_layers_only(host, &impostor);
}
