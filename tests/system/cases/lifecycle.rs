//! How `updater-launch` supervises: races, kills, power cuts, and readers that stall.

use std::time::Instant;

use crate::host::{Host, seconds};
use crate::registry::prepare;
use crate::units::ContainerUnit;

cases![
    overlapping_starts_leave_one_container,
    a_container_dies_with_its_supervisor,
    a_container_that_outlives_its_supervisor_runs,
    a_start_that_fails_late_leaves_nothing,
    every_signal_reaches_the_container,
    leftovers_of_a_power_cut_go,
    a_deep_tree_keeps_no_unit_from_starting,
    nobody_waits_for_anothers_stop,
    a_start_that_is_stopped_before_it_ran_leaves_nothing,
    a_reader_that_stalls_holds_up_no_stop,
    a_journal_that_stalls_holds_up_no_stop,
    the_caller_hears_why_a_background_start_failed,
    exec_stays_in_a_shared_cgroup,
    exec_leaves_no_command_behind,
    records_name_absolute_paths_and_where_output_goes,
    what_is_made_is_started_as_it_was_made,
    what_is_kept_is_there_after_a_reboot,
];

/// Starts a container in the background; its ID.
fn start(host: &Host, flags: &str, image: &str, command: &str) -> String {
    host.sh(&format!("updater-launch run -d --network host {flags} {image} {command}"))
}

/// The supervisor's process ID.
fn supervisor(host: &Host, name: &str) -> String {
    host.sh(&format!("updater-launch inspect --format '{{{{.State.ConmonPid}}}}' {name}"))
}

/// A program that only SIGKILL ends; `word` finds it.
fn stubborn(word: &str) -> String {
    format!("sh -c \"trap '' TERM; while :; do sleep 1; done; echo {word}\"")
}

/// The second comes while the first is between its record and its program, and must wait for as
/// long as the first may take to stop.
fn overlapping_starts_leave_one_container(host: &Host) {
    let app = prepare(host);
    let first = format!(
        "updater-launch run --rm --replace --name web --network host --stop-timeout 12 {app} {}",
        stubborn("first")
    );
    host.sh(&format!(
        "for try in $(seq 1 20); do
           {first} > /tmp/first 2>&1 & first=$!
           until record=$(compgen -G '/run/updaterd/containers/*/record.json'); do :; done
           kill -STOP $first
           grep -q '\"pid\":null' $record && break
           kill -CONT $first; updater-launch rm --force --time 0 web; wait $first || true
         done
         grep '\"pid\":null' $record
         updater-launch run -d --rm --replace --name web --network host {app} sleep 4343 \
           > /tmp/second 2>&1 & second=$!
         sleep 1; kill -CONT $first; wait $second; wait $first || true"
    ));
    assert_eq!(host.sh("ps axo args | grep -c '^sh -c .*echo first$' || true"), "0");
    assert_eq!(host.sh("pgrep -fxc 'sleep 4343'"), "1");
    assert_eq!(host.sh("updater-launch ps --all --quiet --no-trunc"), host.sh("cat /tmp/second"));
    assert_eq!(host.sh("ls /var/lib/updaterd/containers | wc -l"), "1");
}

fn a_container_dies_with_its_supervisor(host: &Host) {
    let app = prepare(host);
    let id = start(host, "--rm --name web", &app, "sleep 4711");
    host.sh("pgrep -fx 'sleep 4711'");
    host.sh(&format!("kill -KILL {}", supervisor(host, "web")));
    host.wait_for("! pgrep -fx 'sleep 4711'", seconds(5));
    // The next look clears away what could not be cleared away then.
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
    let left = format!(
        "find /run/updaterd /var/lib/updaterd /sys/fs/cgroup -name '*{id}*' -o -name payload-{}",
        &id[..12]
    );
    assert_eq!(host.sh(&left), "");
}

/// A change of identity sheds the death signal (prctl(2)).
fn a_container_that_outlives_its_supervisor_runs(host: &Host) {
    let app = prepare(host);
    let shed = "sh -c 'exec /usr/bin/setpriv --reuid 1000 --clear-groups --regid 1000 sleep 4711'";
    start(host, "--rm --name web --volume /usr:/usr:ro", &app, shed);
    host.wait_for("pgrep -fx 'sleep 4711'", seconds(5));
    host.sh(&format!("kill -KILL {}", supervisor(host, "web")));
    std::thread::sleep(seconds(1));
    host.sh("pgrep -fx 'sleep 4711'");
    assert!(host.sh("updater-launch ps").contains(" Up "));
    host.fails(2, "updater-launch rm web");
    host.sh("updater-launch rm --force --time 1 web");
    host.wait_for("! pgrep -fx 'sleep 4711'", seconds(5));
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}

/// Running state without room: with each more file that fits, the start fails later.
fn a_start_that_fails_late_leaves_nothing(host: &Host) {
    let app = prepare(host);
    let mut said = Vec::new();
    for files in 5..60 {
        host.sh(&format!("mount -m -t tmpfs -o nr_inodes={files} none /mnt/small"));
        let run = format!(
            "updater-launch --runroot /mnt/small run -d --name web --cgroups=disabled \
             --network host {app} sleep 4711"
        );
        let outcome = host.run(&run);
        if outcome.status == 0 {
            break;
        }
        said.push(outcome.stderr);
        assert_eq!(host.sh("pgrep -fx 'sleep 4711' || true"), "", "{said:?}");
        assert_eq!(host.sh("find /sys/fs/cgroup -name 'payload-*'"), "", "{said:?}");
        host.sh("umount /mnt/small");
    }
    // As late as can be: the container runs, and cannot be recorded.
    assert!(said.last().is_some_and(|last| last.contains("record.json")), "{said:#?}");
    host.sh("pgrep -fx 'sleep 4711'; updater-launch --runroot /mnt/small rm --force --time 0 web");
    assert_eq!(host.sh("ls /var/lib/updaterd/containers"), "");
}

fn every_signal_reaches_the_container(host: &Host) {
    let app = prepare(host);
    let program = "sh -c \"trap 'echo woken' ALRM; trap 'echo ended; exit 0' 37; \
                   while :; do sleep 0.1; done\"";
    ContainerUnit::new("app", &app).setting("KillSignal=SIGRTMIN+3").command(program).start(host);
    host.sh("systemctl kill --kill-whom=main --signal=SIGALRM app.service");
    host.wait_for("updater-launch logs app | grep woken", seconds(5));
    host.sh("systemctl stop app.service");
    assert_eq!(host.property("app.service", "Result"), "success");
    assert!(host.journal("--unit=app.service").contains("ended"));
    assert_eq!(host.sh("updater-launch ps --all --quiet; ls /var/lib/updaterd/containers"), "");
}

fn leftovers_of_a_power_cut_go(host: &Host) {
    let app = prepare(host);
    start(host, "--rm --name web", &app, "sleep 4711");
    // Another's running state, the same images: in use, though no record of ours names it.
    let other = "updater-launch --runroot /run/other";
    host.sh(&format!("{other} run -d --rm --name other --network host {app} sleep 4712"));
    host.sh(&format!("kill -KILL {}", supervisor(host, "web")));
    host.wait_for("! pgrep -fx 'sleep 4711'", seconds(5));
    host.sh("rm -rf /run/updaterd/containers");
    assert_eq!(host.sh("ls /var/lib/updaterd/containers | wc -l"), "2");
    host.sh("updater-launch ps");
    assert_eq!(host.sh("ls /var/lib/updaterd/containers | wc -l"), "1");
    assert_eq!(host.sh("ls /run/updaterd/runtime | wc -l"), "0");
    assert_eq!(host.sh(&format!("{other} exec other cat /app/version")), "v1");
    host.sh(&format!("{other} rm --force --time 0 other"));
    assert_eq!(host.sh("ls /var/lib/updaterd/containers | wc -l"), "0");
}

/// Environment and directory are those of `create`, not those of `start`.
fn what_is_made_is_started_as_it_was_made(host: &Host) {
    let app = prepare(host);
    host.sh("mkdir -p /srv/data && echo here > /srv/data/file");
    let id = host.sh(&format!(
        "cd /srv; COLOUR=blue updater-launch create --name web --network host -e COLOUR \
         -v ./data:/data:ro {app} sh -c 'echo $COLOUR $(cat /data/file) $(cat /left); echo x > /left'"
    ));
    assert_eq!(host.json("updater-launch inspect web")[0]["State"]["Status"], "created");
    assert_eq!(host.sh("updater-launch start --attach web"), "blue here");
    assert_eq!(host.sh("COLOUR=red updater-launch start --attach web"), "blue here x");
    assert_eq!(host.sh("updater-launch ps --all --quiet --no-trunc"), id);
    let again = format!("updater-launch create --name web --network host {app}");
    assert!(host.fails(125, &again).stderr.contains("in use"));
    host.sh("updater-launch rm web");
    assert_eq!(host.sh("ls /var/lib/updaterd/containers"), "");
}

fn what_is_kept_is_there_after_a_reboot(host: &Host) {
    let app = prepare(host);
    start(host, "--name web", &app, "sleep 4711");
    host.sh(&format!("kill -KILL {}", supervisor(host, "web")));
    host.wait_for("! pgrep -fx 'sleep 4711'", seconds(5));
    host.sh("rm -rf /run/updaterd");
    host.sh("updater-launch start web");
    host.sh("pgrep -fx 'sleep 4711'");
    host.sh("updater-launch stop --time 0 web");
    assert_eq!(host.json("updater-launch inspect web")[0]["State"]["ExitCode"], 137);
    host.sh("updater-launch rm web");
}

fn a_deep_tree_keeps_no_unit_from_starting(host: &Host) {
    let app = prepare(host);
    let dig = "sh -c 'cd /tmp; i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 9; \
               i=$((i+1)); done'";
    let run = format!("ulimit -Sn 1024; updater-launch run --rm --name web --network host {app}");
    host.fails(0, &format!("{run} {dig}"));
    host.fails(0, &format!("{run} true"));
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}

fn nobody_waits_for_anothers_stop(host: &Host) {
    let app = prepare(host);
    start(host, "--rm --name web --stop-timeout 8", &app, &stubborn("web"));
    host.sh(&format!(
        "systemd-run --quiet updater-launch run --rm --replace --name web --network host {app}"
    ));
    std::thread::sleep(seconds(1));
    let started = Instant::now();
    host.sh(&format!("updater-launch run --rm --name other --network host {app} true"));
    assert!(started.elapsed() < seconds(4), "{:?}", started.elapsed());
    host.wait_for("[ $(updater-launch exec web cat /app/version) = v1 ]", seconds(20));
    host.sh("updater-launch stop web");
}

fn a_start_that_is_stopped_before_it_ran_leaves_nothing(host: &Host) {
    let app = prepare(host);
    start(host, "--rm --name web --stop-timeout 3", &app, &stubborn("web"));
    ContainerUnit::new("web", &app).write(host);
    host.sh("systemctl start --no-block web.service");
    std::thread::sleep(seconds(1));
    host.sh("systemctl stop web.service");
    assert_eq!(host.property("web.service", "Result"), "success");
    assert!(host.journal("--unit=web.service").contains("before the container ran"));
    assert_eq!(host.sh("updater-launch ps --all --quiet; ls /var/lib/updaterd/containers"), "");
}

fn a_reader_that_stalls_holds_up_no_stop(host: &Host) {
    let app = prepare(host);
    let flood = "sh -c 'while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done'";
    host.sh(&format!(
        "mkfifo /tmp/fifo; sleep 1000 < /tmp/fifo > /dev/null 2>&1 & exec 3> /tmp/fifo
         updater-launch run --rm --name web --network host --stop-timeout 1 {app} {flood} >&3 2>&1 &
         supervisor=$!; sleep 1; kill -TERM $supervisor
         for i in $(seq 1 60); do kill -0 $supervisor 2> /dev/null || exit 0; sleep 0.1; done
         exit 1"
    ));
    // What a slow reader takes in the end is all there was.
    let much = "sh -c 'seq 1 40000'";
    let slow = "(sleep 2; cat) | tail -n 1";
    let run = format!("updater-launch run --rm --network host {app} {much} | {slow}");
    assert_eq!(host.sh(&run), "40000");
}

fn a_journal_that_stalls_holds_up_no_stop(host: &Host) {
    let app = prepare(host);
    let flood = "sh -c 'while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done'";
    start(host, "--rm --name web --stop-timeout 1", &app, flood);
    let supervisor = supervisor(host, "web");
    host.sh("kill -STOP $(systemctl show --value --property=MainPID systemd-journald.service)");
    std::thread::sleep(seconds(1));
    let stopped = format!(
        "kill -TERM {supervisor}
         for i in $(seq 1 60); do kill -0 {supervisor} 2> /dev/null || exit 0; sleep 0.1; done; exit 1"
    );
    let outcome = host.run(&stopped);
    host.sh("kill -CONT $(systemctl show --value --property=MainPID systemd-journald.service)");
    assert_eq!(outcome.status, 0, "{}", outcome.describe());
}

fn the_caller_hears_why_a_background_start_failed(host: &Host) {
    let app = prepare(host);
    let run = "updater-launch run -d --rm --network host";
    let missing = host.fails(127, &format!("{run} {app} /no/such/program"));
    assert_eq!(missing.stderr.matches("/no/such/program").count(), 1, "{}", missing.describe());
    let unknown = host.fails(125, &format!("{run} --pull=never localhost:5000/nothing:latest"));
    assert!(unknown.stderr.contains("localhost:5000/nothing"), "{}", unknown.describe());
}

fn exec_stays_in_a_shared_cgroup(host: &Host) {
    let app = prepare(host);
    let controllers = "cat /sys/fs/cgroup/cgroup.subtree_control \
                       /sys/fs/cgroup/system.slice/cgroup.subtree_control";
    ContainerUnit::new("app", &app).flag("--cgroups=disabled").start(host);
    let before = host.sh(controllers);
    let own = host.sh("updater-launch exec app cat /proc/1/cgroup");
    assert_eq!(host.sh("updater-launch exec app cat /proc/self/cgroup"), own);
    assert_eq!(host.sh("find /sys/fs/cgroup -name 'payload-*'"), "");
    assert_eq!(host.sh(controllers), before);
}

fn exec_leaves_no_command_behind(host: &Host) {
    let app = prepare(host);
    start(host, "--rm --name web", &app, "sleep 4711");
    for signal in ["TERM", "INT", "HUP", "KILL"] {
        host.run(&format!("timeout -s {signal} 1 updater-launch exec web sleep 777"));
        host.wait_for("! pgrep -fx 'sleep 777'", seconds(5));
    }
    host.fails(128 + 37, "updater-launch exec web sh -c 'kill -37 $$'");
    host.sh("updater-launch stop --time 0 web");
}

fn records_name_absolute_paths_and_where_output_goes(host: &Host) {
    let app = prepare(host);
    host.write("/tmp/auth.json", "{}");
    let run = "updater-launch run -d --rm --network host";
    host.sh(&format!(
        "cd /tmp; {run} --name web --authfile auth.json --cidfile cid --log-driver none {app}"
    ));
    let inspected = &host.json("updater-launch inspect web")[0];
    assert_eq!(inspected["AuthFile"], "/tmp/auth.json");
    assert_eq!(inspected["HostConfig"]["ContainerIDFile"], "/tmp/cid");
    let refused = host.fails(125, "updater-launch logs web");
    assert!(refused.stderr.contains("not in the journal"), "{}", refused.describe());
    host.sh("updater-launch rm --force web");
    assert_ne!(host.run("test -e /tmp/cid").status, 0);
}
