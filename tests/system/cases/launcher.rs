//! `updater-launch`, as people and units call it.

use crate::host::{Host, seconds};
use crate::image::Image;
use crate::registry::{Registry, prepare};
use crate::units::{ContainerUnit, version};

cases![
    exit_codes,
    the_environment,
    users_and_directories,
    volumes_and_tmpfs,
    a_read_only_root,
    isolation,
    capabilities,
    names_and_addresses,
    a_container_in_the_background,
    replace_takes_the_name,
    a_unit_stops_cleanly,
    a_stubborn_program_is_killed_in_time,
    readiness_from_inside,
    the_owning_unit_is_found,
    cgroups_of_a_delegated_unit,
    images_and_tags,
    flags_it_does_not_have_are_refused,
    nothing_stays_behind,
];

/// `updater-launch run --rm --network host FLAGS IMAGE COMMAND`.
fn run(flags: &str, image: &str, command: &str) -> String {
    format!("updater-launch run --rm --network host {flags} {image} {command}")
}

fn exit_codes(host: &Host) {
    let app = prepare(host);
    host.fails(0, &run("", &app, "true"));
    host.fails(7, &run("", &app, "sh -c 'exit 7'"));
    host.fails(127, &run("", &app, "/no/such/program"));
    host.fails(126, &run("", &app, "/etc/passwd"));
    let missing = run("--pull=never", "localhost:5000/nothing:latest", "");
    host.fails(125, &missing);
    host.fails(125, &run("--no-such-flag", &app, "true"));
    let said = host.fails(125, &run("--authfile /no/such/file", &app, "true")).stderr;
    assert!(said.contains("credentials file /no/such/file"), "{said}");
    let sleep = run("", &app, "sleep 4711");
    let kill = "until pkill -KILL -fx 'sleep 4711'; do sleep 0.1; done";
    host.fails(128 + 9, &format!("{sleep} & run=$!; {kill}; wait $run"));
}

fn the_environment(host: &Host) {
    let app = prepare(host);
    host.write("/tmp/env", "FROM_FILE=file\n# comment\nEXPORTED\n");
    let flags = "-e GIVEN='two words' -e TAKEN --env-file /tmp/env";
    let command = format!("TAKEN=taken EXPORTED=exported {}", run(flags, &app, "env"));
    let environment = host.sh(&command);
    let lines: Vec<&str> = environment.lines().collect();
    for expected in [
        "PATH=/bin",
        "FROM_IMAGE=yes",
        "GIVEN=two words",
        "TAKEN=taken",
        "FROM_FILE=file",
        "EXPORTED=exported",
        "HOME=/root",
    ] {
        assert!(lines.contains(&expected), "no {expected} in {environment}");
    }
    assert!(lines.iter().any(|line| line.starts_with("container=")), "{environment}");
    assert!(!environment.contains("NOTIFY_SOCKET"), "{environment}");
}

fn users_and_directories(host: &Host) {
    let app = prepare(host);
    assert_eq!(host.sh(&run("--user 1000", &app, "id -u")), "1000");
    assert_eq!(host.sh(&run("--user 12:34", &app, "sh -c 'echo $(id -u) $(id -g)'")), "12 34");
    let named = host.sh(&run("--user app", &app, "id"));
    for part in ["uid=1000(app)", "gid=1001(app)", "1002(extra)"] {
        assert!(named.contains(part), "{named}");
    }
    host.fails(126, &run("--user nobody-there", &app, "id"));
    assert_eq!(host.sh(&run("--workdir /tmp", &app, "pwd")), "/tmp");
    assert_eq!(host.sh(&run("--entrypoint /bin/echo", &app, "hello")), "hello");
}

fn volumes_and_tmpfs(host: &Host) {
    let app = prepare(host);
    host.write("/srv/data/file", "from the host\n");
    let volume = "--volume /srv/data:/data";
    assert_eq!(host.sh(&run(volume, &app, "cat /data/file")), "from the host");
    host.sh(&run(volume, &app, "sh -c 'echo back > /data/file'"));
    assert_eq!(host.sh("cat /srv/data/file"), "back");
    let read_only = run("-v /srv/data:/data:ro", &app, "sh -c 'echo no > /data/file'");
    assert_ne!(host.run(&read_only).status, 0);
    assert_eq!(host.sh("cat /srv/data/file"), "back");
    let tmpfs =
        run("--tmpfs /scratch:size=1m", &app, "sh -c 'grep \" /scratch tmpfs\" /proc/mounts'");
    assert!(host.sh(&tmpfs).contains("size=1024k"));
    let mounts = "grep -c updaterd /proc/self/mountinfo || true";
    assert_eq!(host.sh(mounts), host.sh(mounts));
}

fn a_read_only_root(host: &Host) {
    let app = prepare(host);
    let touch = "sh -c 'touch /app/new'";
    host.sh(&run("", &app, touch));
    assert_ne!(host.run(&run("--read-only", &app, touch)).status, 0);
    // What one container writes, the next does not see.
    assert_ne!(host.run(&run("", &app, "test -e /app/new")).status, 0);
}

fn isolation(host: &Host) {
    let app = prepare(host);
    let status = host.sh(&run("", &app, "cat /proc/self/status"));
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
        line.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(field("Seccomp"), "2", "{status}");
    assert_eq!(field("NoNewPrivs"), "0", "{status}");
    assert_eq!(field("SigBlk"), "0000000000000000", "{status}");
    let ignored = u64::from_str_radix(&field("SigIgn"), 16).unwrap();
    assert_eq!(ignored & (1 << (13 - 1)), 0, "SIGPIPE is ignored: {status}");

    let devices = host.sh(&run("", &app, "ls /dev"));
    for expected in ["null", "zero", "random", "urandom", "tty", "pts", "shm"] {
        assert!(devices.split_whitespace().any(|name| name == expected), "{devices}");
    }
    for private in ["kmsg", "mem", "vda", "kvm", "fuse"] {
        assert!(!devices.split_whitespace().any(|name| name == private), "{devices}");
    }
    assert_eq!(host.sh(&run("", &app, "sh -c 'ps | grep -c /[l]ib/systemd || true'")), "0");
    for masked in ["/proc/kcore", "/proc/keys", "/proc/timer_list"] {
        let size = format!("sh -c '[ ! -e {masked} ] || [ $(head -c 16 {masked} | wc -c) = 0 ]'");
        host.sh(&run("", &app, &size));
    }
    let sysctl = "sh -c 'echo 1 > /proc/sys/kernel/panic'";
    assert_ne!(host.run(&run("", &app, sysctl)).status, 0);
    assert_ne!(host.run(&run("", &app, "mount -t tmpfs none /tmp")).status, 0);
    assert_ne!(host.run(&run("", &app, "sh -c 'echo b > /proc/sysrq-trigger'")).status, 0);
}

fn capabilities(host: &Host) {
    let app = prepare(host);
    let effective = |flags: &str| {
        let text = host.sh(&run(flags, &app, "grep CapEff /proc/self/status"));
        u64::from_str_radix(text.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    let (chown, net_admin, sys_admin) = (1 << 0, 1 << 12, 1 << 21);
    let default = effective("");
    assert_eq!(default & (chown | net_admin | sys_admin), chown, "{default:x}");
    assert_eq!(effective("--cap-add NET_ADMIN") & net_admin, net_admin);
    assert_eq!(effective("--cap-drop CAP_CHOWN") & chown, 0);
    assert_eq!(effective("--cap-drop all"), 0);
    assert_eq!(effective("--cap-drop all --cap-add chown"), chown);
    assert_eq!(effective("--user 1000"), 0);
    host.fails(125, &run("--cap-add NO_SUCH", &app, "true"));
}

fn names_and_addresses(host: &Host) {
    let app = prepare(host);
    host.write("/etc/resolv.conf", "nameserver 192.0.2.1\n");
    let none = |command: &str| {
        format!("updater-launch run --rm --network none --hostname web {app} {command}")
    };
    let own = none("sh -c 'hostname; cat /etc/hostname'");
    assert_eq!(host.sh(&own), "web\nweb");
    assert!(host.sh(&run("", &app, "cat /etc/resolv.conf")).contains("192.0.2.1"));
    assert!(host.sh(&run("", &app, "cat /etc/hosts")).contains("localhost"));
    let interfaces = none("sh -c 'ls /sys/class/net'");
    assert_eq!(host.sh(&interfaces), "lo");
    // On the host's network, the registry is there.
    let get = "/bin/busybox wget -q -O - http://127.0.0.1:5000/v2/";
    host.sh(&run("", &app, get));
    assert_ne!(host.run(&none(get)).status, 0);
}

fn a_container_in_the_background(host: &Host) {
    let app = prepare(host);
    let id = host.sh(&format!(
        "updater-launch run -d --name web --cidfile /tmp/cid --network host --label role=front {app}"
    ));
    assert_eq!(host.sh("cat /tmp/cid"), id);
    assert_eq!(id.len(), 64);
    let listed = host.sh("updater-launch ps");
    assert!(listed.contains("web") && listed.contains(&id[..12]), "{listed}");
    let inspected = host.json("updater-launch inspect web").to_string();
    assert!(inspected.contains(&id) && inspected.contains("role"), "{inspected}");
    assert_eq!(host.sh("updater-launch exec web cat /app/version"), "v1");
    host.fails(9, "updater-launch exec web sh -c 'exit 9'");
    host.fails(127, "updater-launch exec web /no/such/program");
    assert_eq!(host.sh("updater-launch exec --user 1000 --workdir /tmp -e A=b web sh -c 'echo $(id -u) $PWD $A'"), "1000 /tmp b");
    host.wait_for("updater-launch logs web | grep 'app v1 started'", seconds(10));
    // A second of the same name is refused, and told by the name.
    let taken = host.fails(125, &format!("updater-launch run -d --name web --network host {app}"));
    assert!(taken.said().contains("web"), "{}", taken.describe());
    host.sh("updater-launch stop web");
    host.wait_for("updater-launch logs web | grep 'app stopped'", seconds(10));
    assert_eq!(host.sh("updater-launch ps --quiet"), "");
    assert!(host.sh("updater-launch ps --all").contains("web"));
    host.sh("updater-launch rm web");
    assert!(!host.sh("updater-launch ps --all").contains("web"));
    assert_ne!(host.run("updater-launch inspect web").status, 0);
}

fn replace_takes_the_name(host: &Host) {
    let app = prepare(host);
    let start = format!("updater-launch run -d --replace --rm --name web --network host {app}");
    let first = host.sh(&start);
    let second = host.sh(&start);
    assert_ne!(first, second);
    let running = host.sh("updater-launch ps --quiet --no-trunc");
    assert_eq!(running, second);
    host.sh("updater-launch rm --force web");
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}

fn a_unit_stops_cleanly(host: &Host) {
    let app = prepare(host);
    ContainerUnit::new("app", &app).start(host);
    assert_eq!(host.property("app.service", "Type"), "notify");
    host.sh("systemctl stop app.service");
    assert_eq!(host.property("app.service", "Result"), "success");
    let log = host.journal("--unit=app.service");
    assert!(log.contains("app v1 started") && log.contains("app stopped"), "{log}");
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");
}

fn a_stubborn_program_is_killed_in_time(host: &Host) {
    let app = prepare(host);
    ContainerUnit::new("app", &app)
        .flag("--stop-timeout 1")
        .command("sh -c \"trap '' TERM; while :; do sleep 1; done\"")
        .start(host);
    let started = std::time::Instant::now();
    host.sh("systemctl stop app.service");
    assert!(started.elapsed() < seconds(8), "{:?}", started.elapsed());
    assert_eq!(host.sh("updater-launch ps --all --quiet"), "");

    let sleeper = format!(
        "updater-launch run -d --rm --name web --stop-signal INT --network host {app} \
         sh -c \"trap 'exit 0' INT; while :; do sleep 0.1; done\""
    );
    host.sh(&sleeper);
    // Before its trap is set, the first process of a container cannot be interrupted at all.
    host.wait_for("updater-launch top web | grep -q 'sleep 0.1'", seconds(20));
    let started = std::time::Instant::now();
    host.sh("updater-launch stop web");
    assert!(started.elapsed() < seconds(5), "{:?}", started.elapsed());
}

fn readiness_from_inside(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:latest", &Image::notifying("v1"));
    ContainerUnit::new("app", &registry.reference("app:latest")).notified_by_program().start(host);
    assert_eq!(host.property("app.service", "ActiveState"), "active");
    // Without its word the unit is not ready.
    registry.push("mute:latest", &Image::app("v1"));
    // A pull would let the start take longer.
    host.sh("updater-launch pull localhost:5000/mute:latest");
    ContainerUnit::new("mute", &registry.reference("mute:latest"))
        .notified_by_program()
        .setting("TimeoutStartSec=2")
        .write(host);
    host.fails(1, "systemctl start mute.service");
    assert_eq!(host.property("mute.service", "Result"), "timeout");
}

fn the_owning_unit_is_found(host: &Host) {
    let app = prepare(host);
    for mode in ["split", "disabled", "no-conmon"] {
        ContainerUnit::new("app", &app).flag(&format!("--cgroups={mode}")).start(host);
        let inspected = host.sh("updater-launch inspect app");
        assert!(inspected.contains("app.service"), "--cgroups={mode}: {inspected}");
        host.sh("systemctl stop app.service");
    }
}

fn cgroups_of_a_delegated_unit(host: &Host) {
    let app = prepare(host);
    ContainerUnit::new("app", &app).flag("--cgroups=split").start(host);
    let groups = host.sh("cd /sys/fs/cgroup/system.slice/app.service; find . -mindepth 1 -type d");
    assert!(groups.lines().count() >= 2, "supervisor and payload are apart: {groups}");
    host.sh("[ -z \"$(cat /sys/fs/cgroup/system.slice/app.service/cgroup.procs)\" ]");
    host.sh("systemctl restart app.service");
    assert_eq!(version(host, "app"), "v1");
}

fn images_and_tags(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("updater-launch tag {app} localhost:5000/app:kept"));
    let images = host.sh("updater-launch images");
    assert!(images.contains("localhost:5000/app") && images.contains("kept"), "{images}");
    host.sh(&run("--pull=never", "localhost:5000/app:kept", "true"));
    // A reader that goes away is no failure, a disk that is full is one.
    host.sh("updater-launch images --format json | true");
    host.fails(125, "updater-launch images > /dev/full");
    assert_ne!(host.run("updater-launch pull localhost:5000/app:missing").status, 0);
}

fn flags_it_does_not_have_are_refused(host: &Host) {
    let app = prepare(host);
    for flag in ["--no-such-flag", "--rootfs=/srv"] {
        let outcome = host.fails(125, &run(flag, &app, "true"));
        let name = flag.split([' ', '=']).next().unwrap();
        assert!(outcome.stderr.contains(name), "{}", outcome.describe());
    }
}

/// After any end: no mount, no cgroup, no process, no record.
fn nothing_stays_behind(host: &Host) {
    let app = prepare(host);
    let traces = "cat /proc/self/mountinfo | wc -l; find /sys/fs/cgroup -type d | wc -l
                  find /run/updaterd -mindepth 2 -type d | wc -l; ps -e | grep -c updater-launc || true";
    let before = host.sh(traces);
    host.sh(&run("", &app, "true"));
    host.fails(127, &run("", &app, "/no/such/program"));
    host.sh(&format!(
        "updater-launch run -d --rm --name web --network host {app}; updater-launch stop web"
    ));
    host.wait_until("all traces are gone", seconds(10), || host.sh(traces) == before);
}
