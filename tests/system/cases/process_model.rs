//! How containers are processes of their unit: units as Podman writes them, restarts, and the verbs
//! that act on what runs.

use std::time::{Duration, Instant};

use crate::host::{Host, seconds};
use crate::registry::prepare;

cases![
    units_as_podman_writes_them,
    a_unit_that_forks,
    a_doubled_signal_is_harmless,
    the_login_user_stays,
    failures_are_tried_again,
    a_stop_ends_the_restarts,
    a_restart_stays_in_the_unit,
    what_ended_is_waited_for,
    signals_by_hand,
    all_of_them_at_once,
    a_paused_container,
    another_name,
    a_killed_unit_starts_again,
    an_init_in_front,
    a_scope_of_its_own,
    a_supervisor_sleeps,
];

/// Starts a container in the background; its ID.
fn start(host: &Host, flags: &str, image: &str, command: &str) -> String {
    host.sh(&format!("updater-launch run -d --network host {flags} {image} {command}"))
}

fn inspect(host: &Host, name: &str) -> serde_json::Value {
    host.json(&format!("updater-launch inspect {name}"))[0].take()
}

/// The process ID of `supervisor` or of the first process (`pid`).
fn process(host: &Host, name: &str, which: &str) -> String {
    let field = if which == "pid" { "Pid" } else { "ConmonPid" };
    inspect(host, name)["State"][field].to_string()
}

/// All that containers leave anywhere; the same before the first and after the last.
const TRACES: &str = "cat /proc/self/mountinfo | wc -l
    find /sys/fs/cgroup -name 'payload-*' -o -name supervisor
    find /run/updaterd/containers /run/updaterd/runtime /var/lib/updaterd/containers -mindepth 1 -maxdepth 1 ! -name lock 2> /dev/null || true
    ls /run/*.ctr-id /run/*.pid 2> /dev/null || true
    pgrep -x updater-launch || true";

/// As `podman generate systemd --new` writes it, but for the program's name.
fn generated_unit(host: &Host, name: &str, flags: &str, image: &str, command: &str) {
    host.write(
        &format!("/etc/systemd/system/{name}.service"),
        &format!(
            "[Unit]\nDescription=Podman container-{name}.service\nWants=network-online.target\n\
             After=network-online.target\nRequiresMountsFor=%t/containers\n\n[Service]\n\
             Environment=PODMAN_SYSTEMD_UNIT=%n\nRestart=on-failure\nTimeoutStopSec=70\n\
             ExecStart=/usr/bin/updater-launch run \\\n\t--cidfile=%t/%n.ctr-id \\\n\
             \t--cgroups=no-conmon \\\n\t--rm \\\n\t--sdnotify=conmon \\\n\t-d \\\n\t--replace \\\n\
             \t--name {name} --network host {flags} {image} {command}\n\
             ExecStop=/usr/bin/updater-launch stop \\\n\t--ignore -t 10 \\\n\t--cidfile=%t/%n.ctr-id\n\
             ExecStopPost=/usr/bin/updater-launch rm \\\n\t-f \\\n\t--ignore -t 10 \\\n\
             \t--cidfile=%t/%n.ctr-id\nType=notify\nNotifyAccess=all\n\n\
             [Install]\nWantedBy=default.target\n"
        ),
    );
    host.sh("systemctl daemon-reload");
}

fn units_as_podman_writes_them(host: &Host) {
    let app = prepare(host);
    generated_unit(host, "web", "", &app, "");
    let before = host.sh(TRACES);
    host.sh("systemctl start web.service");
    assert_eq!(host.property("web.service", "ActiveState"), "active");
    let supervisor = process(host, "web", "supervisor");
    assert_eq!(host.property("web.service", "MainPID"), supervisor);
    assert_eq!(host.sh("cat /run/web.service.ctr-id"), inspect(host, "web")["Id"]);
    assert_eq!(inspect(host, "web")["Unit"], "web.service");
    // Both are the unit's, and every process of the container descends from the supervisor.
    let cgroup = "/system.slice/web.service";
    for pid in [&supervisor, &process(host, "web", "pid")] {
        assert_eq!(host.sh(&format!("grep ^0:: /proc/{pid}/cgroup")), format!("0::{cgroup}"));
    }
    let init = process(host, "web", "pid");
    assert_eq!(host.sh(&format!("ps -o ppid= -p {init} | tr -d ' '")), supervisor);
    let log = host.journal("--unit=web.service");
    assert!(!log.contains("not our child"), "{log}");
    host.sh("systemctl restart web.service");
    assert_ne!(process(host, "web", "pid"), init);
    let started = Instant::now();
    host.sh("systemctl stop web.service");
    assert!(started.elapsed() < seconds(5), "{:?}", started.elapsed());
    assert_eq!(host.property("web.service", "Result"), "success");
    assert!(host.journal("--unit=web.service").contains("app stopped"));
    host.wait_until("nothing is left", seconds(5), || host.sh(TRACES) == before);
    // Nothing to stop, and nothing to remove, is no error with --ignore.
    host.sh("updater-launch stop --ignore -t 10 --cidfile=/run/web.service.ctr-id
             updater-launch rm -f --ignore -t 10 --cidfile=/run/web.service.ctr-id");
}

/// As `podman generate systemd` writes it for a container that exists.
fn a_unit_that_forks(host: &Host) {
    let app = prepare(host);
    host.sh(&format!(
        "updater-launch create --name web --network host --cgroups=no-conmon \
         --conmon-pidfile /run/web-conmon.pid --pidfile /run/web-init.pid {app}"
    ));
    host.write(
        "/etc/systemd/system/web.service",
        "[Service]\nEnvironment=PODMAN_SYSTEMD_UNIT=%n\nRestart=on-failure\nTimeoutStopSec=70\n\
         ExecStart=/usr/bin/updater-launch start web\nExecStop=/usr/bin/updater-launch stop -t 10 web\n\
         ExecStopPost=/usr/bin/updater-launch stop -t 10 web\nPIDFile=%t/web-conmon.pid\n\
         Type=forking\n",
    );
    host.sh("systemctl daemon-reload; systemctl start web.service");
    let supervisor = process(host, "web", "supervisor");
    assert_eq!(host.property("web.service", "MainPID"), supervisor);
    assert_eq!(host.sh("cat /run/web-init.pid"), process(host, "web", "pid"));
    host.sh("systemctl stop web.service");
    assert_eq!(host.property("web.service", "Result"), "success");
    assert_eq!(host.sh("ls /run/web-*.pid 2> /dev/null || true"), "");
    // A program that fails is a unit that fails: it is started again.
    host.sh("systemctl start web.service");
    let first = process(host, "web", "pid");
    host.sh("kill -KILL $(cat /run/web-init.pid)");
    host.wait_until("it runs again", seconds(10), || {
        let now = process(host, "web", "pid");
        now != first && inspect(host, "web")["State"]["Status"] == "running"
    });
    host.sh("systemctl stop web.service; updater-launch rm web");
}

fn a_doubled_signal_is_harmless(host: &Host) {
    let app = prepare(host);
    // The default KillMode sends SIGTERM to all there is; the supervisor passes on another.
    let count = "sh -c 'trap \"echo asked\" TERM; echo ready; sleep 100 & wait; wait; sleep 0.2; echo ended'";
    generated_unit(host, "web", "", &app, count);
    host.sh("sed -i '/^ExecStop=/,/cidfile/d' /etc/systemd/system/web.service
         systemctl daemon-reload; systemctl start web.service");
    host.wait_for("journalctl -b --output=cat | grep -x ready", seconds(10));
    host.sh("systemctl stop web.service");
    assert!(host.journal("-b").contains("\nended\n"));
    assert_eq!(host.property("web.service", "Result"), "success");
}

/// The audit subsystem's login user, where this kernel has it.
fn the_login_user_stays(host: &Host) {
    let app = prepare(host);
    if host.run("echo 1000 > /proc/self/loginuid").status != 0 {
        // No kernel with audit: there is nothing to keep.
        assert_ne!(host.run("cat /proc/self/loginuid").status, 0);
        return;
    }
    let look = format!(
        "echo 1000 > /proc/self/loginuid
         updater-launch run --rm --network host {app} cat /proc/self/loginuid; echo
         updater-launch run -d --name web --network host {app} > /dev/null
         updater-launch exec web cat /proc/1/loginuid"
    );
    assert_eq!(host.sh(&look), "1000\n1000");
    host.sh("updater-launch rm -f web");
}

fn failures_are_tried_again(host: &Host) {
    let app = prepare(host);
    host.fails(125, &format!("updater-launch run --rm --restart always --network host {app}"));
    host.fails(125, &format!("updater-launch run --restart sometimes --network host {app}"));
    host.sh(&format!("updater-launch run --rm --restart no --network host {app} true"));
    let fails = "sh -c 'echo again >> /tmp/runs; exit 3'";
    let run = "updater-launch run --name web --network host --restart on-failure:2";
    host.fails(3, &format!("{run} {app} {fails}"));
    assert_eq!(inspect(host, "web")["RestartCount"], 2);
    assert_eq!(inspect(host, "web")["HostConfig"]["RestartPolicy"]["MaximumRetryCount"], 2);
    assert_eq!(inspect(host, "web")["State"]["ExitCode"], 3);
    // What it wrote stays between the runs: it is one container.
    host.sh("updater-launch start --attach web || true");
    host.sh("updater-launch rm web");
    host.sh(&format!("{run} {app} true"));
    assert_eq!(inspect(host, "web")["RestartCount"], 0);
    host.sh("updater-launch rm web");
    start(
        host,
        "--name web --restart always",
        &app,
        "sh -c 'echo run >> /tmp/runs; cat /tmp/runs'",
    );
    host.wait_for("[ $(updater-launch logs web | grep -c run) -ge 6 ]", seconds(10));
    let supervisor = process(host, "web", "supervisor");
    host.wait_until("it was started again", seconds(5), || {
        inspect(host, "web")["RestartCount"].as_u64().unwrap() >= 3
    });
    assert_eq!(process(host, "web", "supervisor"), supervisor);
    host.sh("updater-launch rm -f web");
    assert_eq!(host.sh("updater-launch ps -aq; pgrep -x updater-launch || true"), "");
}

fn a_stop_ends_the_restarts(host: &Host) {
    let app = prepare(host);
    // While it runs, while it waits for its next start, and by its unit.
    start(host, "--name web --restart always", &app, "");
    host.sh("updater-launch stop web");
    assert_eq!(inspect(host, "web")["State"]["Status"], "exited");
    host.sh("updater-launch rm web");
    start(host, "--name web --restart unless-stopped", &app, "false");
    host.wait_until("it waits", seconds(10), || inspect(host, "web")["RestartCount"] == 4);
    let started = Instant::now();
    host.sh("updater-launch stop web");
    assert!(started.elapsed() < seconds(2), "{:?}", started.elapsed());
    host.sh("updater-launch rm web");
    generated_unit(host, "web", "--restart always", &app, "");
    let file = "/etc/systemd/system/web.service";
    host.sh(&format!("sed -i '/^\t--rm/d' {file}; systemctl daemon-reload; systemctl start web"));
    host.sh(&format!("kill -KILL {}", process(host, "web", "pid")));
    host.wait_until("it runs again", seconds(5), || {
        inspect(host, "web")["State"]["Status"] == "running"
    });
    host.sh("systemctl stop web.service");
    assert_eq!(host.sh("pgrep -x updater-launch || true"), "");
}

fn a_restart_stays_in_the_unit(host: &Host) {
    let app = prepare(host);
    generated_unit(host, "web", "", &app, "");
    host.sh("systemctl start web.service");
    let (supervisor, init) = (process(host, "web", "supervisor"), process(host, "web", "pid"));
    host.sh("updater-launch exec web touch /app/kept");
    assert_eq!(host.sh("updater-launch restart web"), "web");
    assert_eq!(process(host, "web", "supervisor"), supervisor);
    assert_ne!(process(host, "web", "pid"), init);
    assert_eq!(inspect(host, "web")["RestartCount"], 0);
    host.sh("updater-launch exec web test -e /app/kept");
    assert_eq!(host.property("web.service", "NRestarts"), "0");
    assert_eq!(host.property("web.service", "MainPID"), supervisor);
    host.sh("systemctl stop web.service");
    // One that does not run is started.
    host.sh(&format!("updater-launch create --name web --network host {app}"));
    host.sh("updater-launch restart web; updater-launch exec web true; updater-launch rm -f web");
}

fn what_ended_is_waited_for(host: &Host) {
    let app = prepare(host);
    start(host, "--rm --name web", &app, "sh -c 'sleep 1; exit 5'");
    assert_eq!(host.sh("updater-launch wait web"), "5");
    start(host, "--name web", &app, "sh -c 'exit 6'");
    assert_eq!(host.sh("updater-launch wait web; updater-launch wait web"), "6\n6");
    host.sh("updater-launch rm web");
    host.sh(&format!("updater-launch create --name web --network host {app}"));
    let wait = "updater-launch wait --interval 20 --condition running,exited web";
    // Which of the two is heard of first is nobody's promise.
    let both = format!("{wait} & waiting=$!; updater-launch start web >&2; wait $waiting");
    assert_eq!(host.sh(&both), "-1");
    host.sh("updater-launch rm -f web");
    assert!(host.fails(125, "updater-launch wait web").stderr.contains("web"));
    assert_eq!(host.sh("updater-launch wait --ignore web"), "-1");
}

fn signals_by_hand(host: &Host) {
    let app = prepare(host);
    let trap = "sh -c \"trap 'echo woken' USR1; echo ready; while :; do sleep 0.1; done\"";
    start(host, "--name web --cidfile /run/web.ctr-id", &app, trap);
    host.wait_for("updater-launch logs web | grep ready", seconds(5));
    assert_eq!(host.sh("updater-launch kill -s USR1 web"), "web");
    host.wait_for("updater-launch logs web | grep woken", seconds(5));
    host.fails(125, "updater-launch kill -s NOPE web");
    host.sh("updater-launch kill --cidfile /run/web.ctr-id; updater-launch wait web");
    assert_eq!(inspect(host, "web")["State"]["ExitCode"], 137);
    assert!(host.fails(125, "updater-launch kill web").stderr.contains("web"));
    host.sh("updater-launch rm web");
}

fn all_of_them_at_once(host: &Host) {
    let app = prepare(host);
    for name in ["a", "b", "c"] {
        host.sh(&format!("updater-launch create --name {name} --network host {app}"));
    }
    assert_eq!(host.sh("updater-launch start a b; updater-launch ps --quiet | wc -l"), "a\nb\n2");
    // One that is not there keeps the others from nothing.
    let missing = host.fails(125, "updater-launch start none c");
    assert!(
        missing.stdout.contains('c') && missing.stderr.contains("none"),
        "{}",
        missing.describe()
    );
    assert_eq!(host.sh("updater-launch ps --quiet | wc -l"), "3");
    host.fails(2, "updater-launch rm a");
    host.fails(1, "updater-launch rm none");
    host.sh("updater-launch rm --ignore none");
    host.sh(
        "updater-launch stop --all --time 1; updater-launch start --all; updater-launch kill --all",
    );
    host.wait_for("[ -z \"$(updater-launch ps --quiet)\" ]", seconds(5));
    host.sh("updater-launch start --all; updater-launch rm --all --force --time 1");
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}

fn a_paused_container(host: &Host) {
    let app = prepare(host);
    let count = "sh -c 'trap \"exit 0\" TERM; i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done'";
    start(host, "--rm --name web", &app, count);
    let init = process(host, "web", "pid");
    let counted = || host.sh(&format!("cat /proc/{init}/root/count"));
    host.wait_until("it counts", seconds(5), || !counted().is_empty());
    assert_eq!(host.sh("updater-launch pause web"), "web");
    assert_eq!(inspect(host, "web")["State"]["Status"], "paused");
    let frozen = counted();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(counted(), frozen);
    assert!(host.fails(125, "updater-launch pause web").stderr.contains("paused"));
    host.sh("updater-launch unpause web");
    host.wait_until("it counts on", seconds(5), || counted() != frozen);
    host.fails(125, "updater-launch unpause web");
    // A stop does not wait for who cannot hear it.
    host.sh("updater-launch pause --all");
    let started = Instant::now();
    host.sh("updater-launch stop web");
    assert!(started.elapsed() < seconds(3), "{:?}", started.elapsed());
    start(host, "--rm --name web --cgroups=disabled", &app, "");
    assert!(host.fails(125, "updater-launch pause web").stderr.contains("cgroup"));
    host.sh("updater-launch stop web");
}

fn another_name(host: &Host) {
    let app = prepare(host);
    start(host, "--name web", &app, "");
    start(host, "--name other", &app, "");
    assert!(host.fails(125, "updater-launch rename web other").stderr.contains("in use"));
    host.fails(125, "updater-launch rename web 'a b'");
    host.sh("updater-launch rename web front; updater-launch exec front true");
    host.sh("updater-launch stop front; updater-launch start front");
    assert_eq!(inspect(host, "front")["Name"], "front");
    host.sh(
        "updater-launch stop front; updater-launch rename front back; updater-launch start back",
    );
    host.fails(125, "updater-launch inspect web front");
    host.sh("updater-launch rm --all --force");
}

/// The next start of a unit works at once, whatever was killed, and nothing is left behind.
fn a_killed_unit_starts_again(host: &Host) {
    let app = prepare(host);
    generated_unit(host, "web", "", &app, "");
    host.sh("sed -i 's/^Restart=.*/Restart=no/' /etc/systemd/system/web.service; systemctl daemon-reload");
    let before = host.sh(TRACES);
    let kills = [
        // The supervisor, and nobody cleans up behind it; the first process; the whole unit.
        "kill -KILL $supervisor",
        "kill -KILL $init",
        "systemctl kill --signal=KILL web.service",
        // The power: no ExecStopPost=, no running state.
        "systemctl edit --runtime --stdin web.service <<< $'[Service]\\nExecStopPost=' 2> /dev/null || {
           mkdir -p /run/systemd/system/web.service.d
           printf '[Service]\\nExecStopPost=\\n' > /run/systemd/system/web.service.d/cut.conf
           systemctl daemon-reload; }
         systemctl kill --signal=KILL web.service
         while pgrep -x updater-launch; do sleep 0.02; done > /dev/null
         rm -rf /run/updaterd /run/web.service.ctr-id",
    ];
    for kill in kills {
        host.sh("systemctl start web.service");
        let pids = format!(
            "supervisor={}; init={};",
            process(host, "web", "supervisor"),
            process(host, "web", "pid")
        );
        host.sh(&format!("{pids} {kill}"));
        host.wait_for("! systemctl is-active --quiet web.service", seconds(10));
        host.sh(
            "systemctl reset-failed web.service 2> /dev/null || true; systemctl start web.service",
        );
        assert_eq!(host.sh("updater-launch exec web cat /app/version"), "v1", "{kill}");
        assert_eq!(host.sh("ls /var/lib/updaterd/containers | wc -l"), "1", "{kill}");
        assert_eq!(host.sh("updater-launch ps --all --quiet | wc -l"), "1", "{kill}");
        host.sh("systemctl stop web.service");
        host.sh("updater-launch rm -f --ignore web");
        host.wait_until(&format!("nothing is left: {kill}"), seconds(5), || {
            host.sh(TRACES) == before
        });
    }
}

/// Nothing happens, and nobody wakes up.
fn a_supervisor_sleeps(host: &Host) {
    let app = prepare(host);
    start(host, "--rm --name web", &app, "sleep 1000");
    let supervisor = process(host, "web", "supervisor");
    let switches = || host.sh(&format!("grep ctxt_switches /proc/{supervisor}/status"));
    host.sh("updater-launch exec web true");
    std::thread::sleep(Duration::from_millis(300));
    let before = switches();
    std::thread::sleep(seconds(3));
    assert_eq!(switches(), before);
    host.sh("updater-launch rm -f -t 0 web");
}

fn an_init_in_front(host: &Host) {
    let app = prepare(host);
    let run = format!("updater-launch run --rm --init --network host {app}");
    let behind = "sh -c 'cat /proc/1/comm; [ $$ != 1 ] && echo behind'";
    assert_eq!(host.sh(&format!("{run} {behind}")), "init\nbehind");
    host.fails(7, &format!("{run} sh -c 'exit 7'"));
    // Signals reach the program, orphans are waited for.
    start(host, "--rm --init --name web", &app, "");
    host.wait_for("updater-launch logs web | grep started", seconds(5));
    host.sh("updater-launch exec web sh -c '(sleep 0.2 &) ; true'");
    let init = process(host, "web", "pid");
    host.wait_for(&format!("! ps -o stat= --ppid {init} | grep Z"), seconds(5));
    let started = Instant::now();
    host.sh("updater-launch stop web");
    assert!(started.elapsed() < seconds(3), "{:?}", started.elapsed());
    // Another one; and one that is not there.
    let other = "updater-launch run --rm --init-path /usr/bin/catatonit --network host";
    assert_eq!(host.sh(&format!("{other} {app} cat /proc/1/comm")), "init");
    let none = format!("updater-launch run --rm --init-path /no/init --network host {app} true");
    assert!(host.fails(125, &none).stderr.contains("/no/init"));
    // Descriptors are the program's: LISTEN_PID names it, not the init.
    let look = "sh -c 'echo $LISTEN_FDS; [ $LISTEN_PID = $$ ] && [ $$ != 1 ] && echo its'";
    host.write("/tmp/listen", &format!("LISTEN_FDS=1 LISTEN_PID=$$ exec {run} {look}\n"));
    assert_eq!(host.sh("bash /tmp/listen 3< /dev/null"), "1\nits");
}

fn a_scope_of_its_own(host: &Host) {
    let app = prepare(host);
    generated_unit(host, "web", "--restart always", &app, "");
    host.sh(
        "sed -i '/^\t--rm/d; s/--cgroups=no-conmon/--cgroups=enabled/' /etc/systemd/system/web.service
         systemctl daemon-reload; systemctl start web.service",
    );
    let id = inspect(host, "web")["Id"].as_str().unwrap().to_owned();
    let scope = format!("updaterd-{id}.scope");
    assert_eq!(host.property(&scope, "ActiveState"), "active");
    let path = format!("0::/machine.slice/{scope}/payload-{}", &id[..12]);
    let of = |pid: &str| host.sh(&format!("grep ^0:: /proc/{pid}/cgroup"));
    assert_eq!(of(&process(host, "web", "pid")), path);
    assert_eq!(of(&process(host, "web", "supervisor")), "0::/system.slice/web.service");
    assert_eq!(host.sh("updater-launch exec web cat /proc/self/cgroup | grep ^0::"), "0::/");
    host.sh("updater-launch pause web; updater-launch unpause web; updater-launch restart web");
    assert_eq!(of(&process(host, "web", "pid")), path);
    host.sh("systemctl stop web.service");
    host.wait_for(&format!("! systemctl is-active --quiet {scope}"), seconds(5));
    assert_eq!(host.sh("find /sys/fs/cgroup -name 'updaterd-*.scope'"), "");
    // Nor is anything left where its supervisor was killed.
    start(host, "--rm --name other --cgroups=enabled", &app, "sleep 4711");
    host.sh(&format!("kill -KILL {}", process(host, "other", "supervisor")));
    host.wait_for("[ -z \"$(find /sys/fs/cgroup -name 'updaterd-*.scope')\" ]", seconds(5));
    let left = "updater-launch ps -aq --filter name=other; pgrep -fx 'sleep 4711' || true";
    assert_eq!(host.sh(left), "");
}
