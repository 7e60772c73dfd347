//! Containers of ordinary users, under their own manager.

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::registry::{Registry, offer, offer_image};
use crate::someone::{RUN, STORE, Someone};

cases![
    a_users_container_is_a_service_of_the_users_manager,
    files_keep_their_owners,
    layers_hide_what_they_remove,
    signals_reach_other_users_of_other_namespaces,
    after_a_crash_nothing_stays,
    each_container_is_confined_as_roots_are,
    a_made_container_is_started_later,
    containers_of_a_pod_share_a_user_namespace,
    a_shell_of_a_session_gets_a_scope,
    pasta_publishes_ports,
    networks_are_shared_and_refused,
    a_users_unit_is_updated_by_the_users_daemon,
    a_users_unit_is_put_back,
    without_subordinate_ids_there_is_only_root,
    what_a_host_lacks_is_named,
];

fn a_users_container_is_a_service_of_the_users_manager(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    someone.start("app", "--network host", &app, "");
    // It pulled the image, told the manager, and is the main process itself.
    assert_eq!(someone.property("app.service", "ActiveState"), "active");
    let main = someone.property("app.service", "MainPID");
    assert_eq!(host.sh(&format!("cat /proc/{main}/comm")), "updater-launch");
    let group = someone.property("app.service", "ControlGroup");
    let init = host.sh(&format!("cat /sys/fs/cgroup{group}/payload-*/cgroup.procs | head -n 1"));
    assert_eq!(host.sh(&format!("ps -o ppid= {init} | head -n 1")), main);
    // Root inside is the user, and nobody else can see what they keep.
    assert_eq!(host.sh(&format!("stat --format=%u /proc/{init}")), "4000");
    assert_eq!(host.sh(&format!("stat --format=%a:%u {STORE} {RUN}")), "700:4000\n700:4000");
    assert_eq!(host.sh("ls -A /var/lib/updaterd; ls -A /run/updaterd 2> /dev/null || true"), "");
    // The other commands.
    let listed = someone.sh("updater-launch ps");
    assert!(listed.contains(&app) && listed.contains("Up "), "{listed}");
    assert!(someone.sh("updater-launch inspect app").contains("\"app.service\""));
    assert_eq!(someone.version("app"), "v1");
    assert_eq!(someone.sh("updater-launch exec app id -u"), "0");
    assert_eq!(someone.sh("updater-launch exec --user app app id -u"), "1000");
    assert_eq!(someone.sh("updater-launch exec app cat /proc/1/cgroup | grep 0::"), "0::/");
    assert!(someone.sh("updater-launch images").contains("localhost:5000/app"));
    host.wait_until("the user reads what it wrote", seconds(10), || {
        someone.run("updater-launch logs app").stdout.contains("app v1 started")
    });
    someone.sh("systemctl --user stop app.service");
    assert_eq!(someone.property("app.service", "Result"), "success");
    assert_eq!(someone.sh("updater-launch ps --all --quiet"), "");
    assert_eq!(host.sh(&format!("ls {STORE}/containers {STORE}/tmp {RUN}/runtime | wc -w")), "3");
}

/// What is the container's root's is the user's, everybody else is a subordinate ID.
fn files_keep_their_owners(host: &Host) {
    let mut layer = Layer::new();
    layer.file_of((1000, 1001), "srv/theirs", b"x");
    layer.file_of((65535, 65535), "srv/last", b"x");
    let app = offer_image(host, &Image::app("v1").layer(layer));
    let someone = Someone::new(host);
    someone.sh(&format!("updater-launch pull {app}; mkdir volume"));
    let owner = |path: &str| host.sh(&format!("stat --format=%u:%g {path}"));
    assert_eq!(owner(&format!("{STORE}/layers/sha256/*/srv/theirs")), "100999:101000");
    assert_eq!(owner(&format!("{STORE}/layers/sha256/*/srv/last")), "165534:165534");
    assert_eq!(owner(&format!("{STORE}/layers/sha256/*/app/version")), "4000:4000");
    let seen = someone.sh(&format!(
        "updater-launch run --rm --network none --volume /home/someone/volume:/v {app} sh -c '
             stat -c %u:%g /srv/theirs /srv/last /app/version /v /dev/pts /dev/shm
             touch /v/roots /v/apps; chown app:app /v/apps; chmod 600 /v/apps'"
    ));
    assert_eq!(seen, "1000:1001\n65535:65535\n0:0\n0:0\n0:0\n0:0");
    assert_eq!(owner("/home/someone/volume/roots"), "4000:4000");
    assert_eq!(owner("/home/someone/volume/apps"), "100999:101000");
    // The program's own user reads and writes what is its own, and nothing else.
    let run = format!("updater-launch run --rm --network none --user app -v ~/volume:/v {app}");
    someone.sh(&format!("{run} sh -c 'echo more >> /v/apps; echo hi > /dev/stdout'"));
    assert_ne!(someone.run(&format!("{run} sh -c 'echo x > /v/roots'")).status, 0);
}

fn layers_hide_what_they_remove(host: &Host) {
    let (mut first, mut second) = (Layer::new(), Layer::new());
    for file in ["srv/gone", "srv/kept", "opt/a", "opt/b"] {
        first.file(file, 0o644, b"x");
    }
    second.file("srv/.wh.gone", 0o644, b"");
    second.file("opt/.wh..wh..opq", 0o644, b"");
    second.file("opt/new", 0o644, b"x");
    let app = offer_image(host, &Image::app("v1").layer(first).layer(second));
    let someone = Someone::new(host);
    let run = format!("updater-launch run --rm --network none {app}");
    assert_eq!(someone.sh(&format!("{run} ls /srv /opt")), "/opt:\nnew\n\n/srv:\nkept");
}

/// Each launcher has a user namespace of its own; who would send a signal into another one is root
/// of nothing there.
fn signals_reach_other_users_of_other_namespaces(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    someone.start("one", "--user app --network host", &app, "");
    someone.sh("updater-launch stop one");
    host.wait_until("the stop is the container's own end", seconds(10), || {
        someone.property("one.service", "ActiveState") == "inactive"
    });
    // By a launcher that is in a namespace already: both stop signal and SIGKILL.
    for (deaf, status) in [("", "0"), ("sh -c 'trap \"\" TERM; while :; do sleep 1; done'", "137")]
    {
        let flags = "--user app --network host --stop-timeout 1";
        someone.start("one", flags, &app, deaf);
        someone
            .sh(&format!("updater-launch run --rm --replace --name one --network none {app} true"));
        host.wait_until("the first one has ended", seconds(10), || {
            someone.property("one.service", "SubState") != "running"
        });
        assert_eq!(someone.property("one.service", "ExecMainStatus"), status);
        someone.run("systemctl --user reset-failed");
    }
    someone.start("one", "--user app --network host", &app, "");
    someone.sh("updater-launch rm --force one");
    assert_eq!(someone.sh("updater-launch ps --all --quiet"), "");
}

fn after_a_crash_nothing_stays(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    // Files of subordinate users, which the user alone could not remove.
    let write = "sh -c 'mkdir -m 700 /tmp/x; touch /tmp/x/y; echo written; sleep 1000'";
    someone.start("app", "--user app --network host", &app, write);
    host.wait_for(&format!("ls {STORE}/containers/*/upper/tmp/x/y"), seconds(10));
    let pid = someone.property("app.service", "MainPID");
    host.sh(&format!("kill -KILL {pid}"));
    host.wait_until("the unit has failed", seconds(10), || {
        someone.property("app.service", "ActiveState") == "failed"
    });
    host.wait_for("! pgrep --uid 100999", seconds(10));
    someone.start("app", "--network host", &app, "");
    assert_eq!(someone.version("app"), "v1");
    someone.sh("systemctl --user stop app.service");
    assert_eq!(host.sh(&format!("ls -A {STORE}/containers {STORE}/tmp {RUN}/runtime")).len(), {
        format!("{RUN}/runtime:\n\n{STORE}/containers:\n\n{STORE}/tmp:").len()
    });
    assert_eq!(host.sh("find /sys/fs/cgroup -name 'payload-*'"), "");
}

fn each_container_is_confined_as_roots_are(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    for network in ["host", "none"] {
        let run = format!("updater-launch run --rm --network {network}");
        let status =
            someone.sh(&format!("{run} {app} grep -E 'Seccomp:|CapEff|Groups' /proc/1/status"));
        assert!(status.contains("Seccomp:\t2") && status.contains("00000000800405fb"), "{status}");
        assert!(status.contains("Groups:\t \n") || status.contains("Groups:\t\n"), "{status:?}");
        let written = format!("{run} {app} sh -c 'echo 1 > /proc/sys/kernel/sysrq'");
        assert_ne!(someone.run(&written).status, 0);
        let written = format!("{run} {app} sh -c 'echo x > /sys/fs/cgroup/cgroup.procs'");
        assert_ne!(someone.run(&written).status, 0);
        // No node of a device can be made, whatever is added.
        let made = format!("{run} --cap-add MKNOD {app} mknod /tmp/disk b 8 0");
        assert_ne!(someone.run(&made).status, 0);
    }
    let login = "echo 1000 > /proc/self/loginuid";
    let seen = someone.run(&format!(
        "{login}; updater-launch run --rm --network none {app} cat /proc/self/loginuid"
    ));
    // An audit login UID is set once; where the manager has one, it stays that.
    let own = someone.sh("cat /proc/self/loginuid");
    assert!(seen.stdout == "1000" || seen.status != 0 && own != "4294967295", "{seen:?} {own}");
}

fn a_made_container_is_started_later(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    someone.sh(&format!(
        "updater-launch create --name later --user app --network none {app} sh -c \
         'echo more >> /tmp/kept; cat /tmp/kept'"
    ));
    for expected in ["more", "more\nmore"] {
        assert_eq!(someone.sh("updater-launch start --attach later"), expected);
    }
    // What the container's users wrote goes with it.
    someone.sh("updater-launch rm later");
    assert_eq!(host.sh(&format!("ls -A {STORE}/containers")), "");
}

/// What a pod's containers share belongs to the user namespace of the pod's supervisor.
fn containers_of_a_pod_share_a_user_namespace(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    host.write(
        "/home/someone/.config/systemd/user/duo.service",
        "[Service]\nType=forking\nPIDFile=%t/duo.pid\nDelegate=yes\n\
         ExecStartPre=/usr/bin/updater-launch pod create --replace --name duo --network none \
         --infra-conmon-pidfile %t/duo.pid\n\
         ExecStart=/usr/bin/updater-launch pod start duo\n\
         ExecStopPost=/usr/bin/updater-launch pod rm --force duo\n",
    );
    someone.write("one", "--user app --pod duo", &app, "");
    someone.write("two", "--pod duo", &app, "");
    someone
        .sh("systemctl --user start duo.service; systemctl --user start one.service two.service");
    let look = |name: &str, what: &str| someone.sh(&format!("updater-launch exec {name} {what}"));
    for namespace in ["user", "net", "ipc", "uts"] {
        let link = format!("readlink /proc/self/ns/{namespace}");
        assert_eq!(look("--user root one", &link), look("two", &link), "{namespace}");
    }
    // One of them is restarted alone.
    someone.sh("systemctl --user restart one.service");
    assert_eq!(look("one", "hostname"), "duo");
    someone.sh("systemctl --user stop one.service two.service duo.service");
    assert_eq!(someone.sh("updater-launch ps --all --quiet; updater-launch pod ps --quiet"), "");
}

/// The cgroup of a session is root's; that of the test is a service of the system's manager, which
/// is as bad.
fn a_shell_of_a_session_gets_a_scope(host: &Host) {
    let app = offer(host);
    let _someone = Someone::new(host);
    let shell = "cd /home/someone; setpriv --reuid=4000 --regid=4000 --init-groups env --ignore-environment \
                 PATH=/usr/bin HOME=/home/someone XDG_RUNTIME_DIR=/run/user/4000";
    let launch = |rest: &str| host.sh(&format!("{shell} updater-launch {rest}"));
    launch(&format!("run --detach --cgroups split --name app --network host {app}"));
    let init = launch("inspect --format {{.State.Pid}} app");
    let group = host.sh(&format!("cat /proc/{init}/cgroup | grep 0::"));
    assert!(group.contains("/user@4000.service/") && group.contains(".scope/payload-"), "{group}");
    // What is run in it belongs to it, also for its limits.
    assert_eq!(launch("exec app cat /proc/self/cgroup | grep 0::"), "0::/");
    launch("rm --force app");
    assert_eq!(host.sh("find /sys/fs/cgroup -name 'payload-*'"), "");
    // Without a manager it is said what is missing.
    host.sh("mv /run/user/4000/systemd /run/user/4000/away");
    let refused = host.fails(125, &format!("{shell} updater-launch run --network host {app}"));
    assert!(refused.stderr.contains("systemd-run --user --scope"), "{}", refused.describe());
}

const SERVE: &str = "sh -c 'while :; do echo served | nc -l -p 80; done'";

fn pasta_publishes_ports(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    host.connect();
    someone.start("web", "--publish 8088:80 --publish 127.0.0.1:8089:80", &app, SERVE);
    for address in ["127.0.0.1:8088", "127.0.0.1:8089"] {
        let (ip, port) = address.split_once(':').unwrap();
        let ask =
            format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{ip}/{port}; cat <&3' | grep served");
        host.wait_for(&ask, seconds(20));
    }
    host.fails(1, "timeout 5 bash -c 'exec 3<>/dev/tcp/192.0.2.1/8089'");
    // It is the container's own network, not the host's.
    let links = someone.sh("updater-launch exec web ls /sys/class/net 2> /dev/null || true");
    let route = someone.sh("updater-launch exec web cat /proc/net/route");
    assert!(route.contains("out"), "{links} {route}");
    let own = someone.sh("updater-launch exec web readlink /proc/self/ns/net");
    assert_ne!(own, host.sh("readlink /proc/self/ns/net"));
    // A port that is taken is named, and nothing stays of who wanted it.
    let taken = format!("updater-launch run --rm --publish 8088:80 {app} true");
    let refused = someone.fails(125, &taken);
    assert!(refused.stderr.contains("8088"), "{}", refused.describe());
    // Killed with its supervisor, pasta keeps no port.
    let pid = someone.property("web.service", "MainPID");
    host.sh(&format!("kill -KILL {pid}"));
    host.wait_for("! pgrep pasta", seconds(10));
    someone.start("web", "--publish 8088:80", &app, SERVE);
    someone.sh("systemctl --user stop web.service");
    host.wait_for("! pgrep pasta", seconds(10));
    assert_eq!(host.sh(&format!("ls -A {STORE}/containers")), "");
}

fn networks_are_shared_and_refused(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    let someone = Someone::new(host);
    let refused =
        someone.fails(125, &format!("updater-launch run --rm --network front {app} true"));
    assert!(refused.stderr.contains("pasta"), "{}", refused.describe());
    // Without a way out of the host there is none for the container.
    let refused = someone.fails(125, &format!("updater-launch run --rm {app} true"));
    assert!(refused.stderr.contains("pasta failed"), "{}", refused.describe());
    someone.start("one", "--network none", &app, "");
    someone.start("two", "--user app --network container:one --pid container:one", &app, "");
    for namespace in ["net", "pid", "user"] {
        let look = |name: &str| {
            someone.sh(&format!(
                "updater-launch exec --user 0 {name} readlink /proc/self/ns/{namespace}"
            ))
        };
        assert_eq!(look("one"), look("two"), "{namespace}");
    }
}

const LABEL: &str = "--network host --label io.containers.autoupdate=registry";

fn configure(host: &Host) {
    let path = "/home/someone/.config/updaterd/updaterd.toml";
    host.write(path, "schedule = \"timer\"\nsettle = \"1s\"\n");
    host.sh("chown -R someone: /home/someone/.config");
}

fn a_users_unit_is_updated_by_the_users_daemon(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    let someone = Someone::new(host);
    configure(host);
    someone.start("app", LABEL, &app, "");
    let mut layer = Layer::new();
    layer.file_of((1000, 1001), "srv/theirs", b"x");
    registry.push("app:latest", &Image::app("v2").layer(layer));
    let told = someone.sh("updaterctl update");
    assert!(told.contains("updated"), "{told}");
    assert_eq!(someone.version("app"), "v2");
    // The daemon did it, and what it brought has its owners.
    assert!(someone.property("updaterd.service", "ExecMainPID") != "0");
    let owner = format!("stat --format=%u:%g {STORE}/layers/sha256/*/srv/theirs");
    assert_eq!(host.sh(&owner), "100999:101000");
    assert!(someone.sh("updaterctl history").contains("app.service"));
    assert_eq!(host.sh(&format!("ls -A {STORE}/tmp")), "");
}

fn a_users_unit_is_put_back(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::app("v1"));
    let app = registry.reference("app:latest");
    let someone = Someone::new(host);
    configure(host);
    someone.start("app", LABEL, &app, "");
    registry.push("app:latest", &Image::crashing("v2"));
    assert_ne!(someone.run("updaterctl update").status, 0);
    assert_eq!(someone.version("app"), "v1");
    assert!(someone.sh("updaterctl quarantine list").contains("app"));
    let full = someone.sh("updaterctl history app -v");
    assert!(full.contains("app v2 crashes"), "{full}");
    // What a pull fails by is told as root's is.
    host.sh("echo other:100000:65536 > /etc/subuid");
    let mut layer = Layer::new();
    layer.file_of((1000, 1001), "srv/theirs", b"x");
    registry.push("app:latest", &Image::app("v3").layer(layer));
    let refused = someone.run("updaterctl update");
    assert_ne!(refused.status, 0);
    assert!(refused.said().contains("/etc/subuid"), "{}", refused.describe());
}

fn without_subordinate_ids_there_is_only_root(host: &Host) {
    let registry = Registry::start(host);
    let mut theirs = Layer::new();
    theirs.file_of((1000, 1001), "srv/theirs", b"x");
    registry.push("roots:latest", &Image::app("v1"));
    registry.push("others:latest", &Image::app("v1").layer(theirs));
    let (roots, others) = (registry.reference("roots:latest"), registry.reference("others:latest"));
    let someone = Someone::new(host);
    host.sh("echo other:100000:65536 > /etc/subuid");
    let run = "updater-launch run --rm --network none";
    let alone = someone.run(&format!("{run} {roots} id -u"));
    assert_eq!((alone.status, alone.stdout.trim()), (0, "0"), "{}", alone.describe());
    assert!(alone.stderr.contains("\"someone:165536:65536\""), "{}", alone.describe());
    let refused = someone.fails(125, &format!("{run} {others} true"));
    assert!(refused.stderr.contains("user 1000 and group 1001"), "{}", refused.describe());
    assert!(refused.stderr.contains("/etc/subuid"), "{}", refused.describe());
    assert_eq!(host.sh(&format!("ls -A {STORE}/containers {STORE}/tmp | wc -w")), "2");
}

fn what_a_host_lacks_is_named(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    let run = format!("updater-launch run --rm --network none {app} true");
    host.sh("mv /usr/bin/newuidmap /usr/bin/away");
    let refused = someone.fails(125, &run);
    assert!(refused.stderr.contains("Debian: uidmap"), "{}", refused.describe());
    host.sh("mv /usr/bin/away /usr/bin/newuidmap");
    // A unit that may gain no privileges cannot have its users mapped.
    let script = format!("setpriv --no-new-privs {run}");
    let refused = someone.fails(125, &script);
    assert!(refused.stderr.contains("NoNewPrivileges="), "{}", refused.describe());
    someone.sh(&run);
    assert_eq!(host.sh(&format!("ls -A {STORE}/containers")), "");
}
