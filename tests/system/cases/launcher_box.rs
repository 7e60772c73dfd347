//! How `updater-launch` sets a container up: its streams, mounts, limits, environment.

use crate::host::Host;
use crate::image::{Image, Layer};
use crate::registry::{prepare, prepare_image};

cases![
    streams_of_ordinary_users,
    an_empty_standard_input,
    mounts_do_not_hide_each_other,
    the_callers_umask_and_limits,
    working_directories,
    failures_name_their_cause,
    the_callers_groups,
    descriptors_from_systemd,
    later_mounts_of_the_host,
    devices,
    environments,
    a_missing_interpreter,
    volumes_begin_with_what_the_image_has,
    programs_of_32_bits,
];

/// `updater-launch run --rm --network host FLAGS IMAGE COMMAND`.
fn run(flags: &str, image: &str, command: &str) -> String {
    format!("updater-launch run --rm --network host {flags} {image} {command}")
}

/// A container `box` in the background, that `exec` can be tried in.
fn start(host: &Host, flags: &str, image: &str, command: &str) {
    host.sh(&format!(
        "updater-launch run -d --rm --name box --stop-timeout 0 --network host {flags} {image} {command}"
    ));
}

fn streams_of_ordinary_users(host: &Host) {
    let app = prepare(host);
    let write = "sh -c 'echo out > /dev/stdout; echo err > /dev/stderr'";
    let told = host.run(&run("--user 1000", &app, write));
    assert_eq!((&*told.stdout, &*told.stderr), ("out\n", "err\n"), "{}", told.describe());
    start(host, "", &app, "sleep 1000");
    let told = host.run(&format!("updater-launch exec --user 1000 box {write}"));
    assert_eq!((&*told.stdout, &*told.stderr), ("out\n", "err\n"), "{}", told.describe());
    // What has a name on the host is not handed over.
    host.sh("mkfifo -m 600 /tmp/named; cat /tmp/named > /dev/null &
             updater-launch exec --user 1000 box true > /tmp/named
             [ $(stat -c %u /tmp/named) = 0 ]");
}

fn an_empty_standard_input(host: &Host) {
    let app = prepare(host);
    assert_eq!(host.sh(&format!("echo mine | {}", run("", &app, "cat"))), "");
    let loop_ =
        format!("printf 'a\\nb\\n' | while read x; do echo $x; {}; done", run("", &app, "cat"));
    assert_eq!(host.sh(&loop_), "a\nb");
    let read = "sh -c 'read line; echo got=$line; sleep 1000'";
    host.sh(&format!(
        "echo mine | updater-launch run -d --rm --name reader --stop-timeout 0 --network host {app} {read}"
    ));
    host.wait_for("updater-launch logs reader | grep -x got=", crate::host::seconds(10));
    start(host, "", &app, "sleep 1000");
    assert_eq!(host.sh("echo mine | updater-launch exec box cat"), "");
    assert_eq!(host.sh("echo mine | updater-launch exec -i box cat"), "mine");
}

fn mounts_do_not_hide_each_other(host: &Host) {
    let app = prepare(host);
    host.write("/srv/inner/file", "from the host\n");
    host.sh("mkdir -p /srv/outer/x");
    let read = "cat /data/x/file";
    for outer in ["--tmpfs /data", "-v /srv/outer:/data"] {
        let after = run(&format!("-v /srv/inner:/data/x {outer}"), &app, read);
        assert_eq!(host.sh(&after), "from the host");
    }
    let twice = host.fails(125, &run("-v /srv/inner:/data -v /srv/outer:/data/", &app, "true"));
    assert!(twice.stderr.contains("/data"), "{}", twice.describe());
    let told = "sh -c 'ls -d $NOTIFY_SOCKET'";
    let flags = "--sdnotify container --tmpfs /run";
    let listed = host.sh(&format!("NOTIFY_SOCKET=/run/systemd/notify {}", run(flags, &app, told)));
    assert_eq!(listed, "/run/notify/notify.sock");
}

fn the_callers_umask_and_limits(host: &Host) {
    let app = prepare(host);
    let look = "sh -c 'umask; stat -c %a / /etc/hosts /etc/resolv.conf; ls /app > /dev/null; ulimit -Sn; ulimit -Hn'";
    for flags in ["", "--user 1000"] {
        let command =
            format!("umask 077; ulimit -Sn 1024; ulimit -Hn 4096; {}", run(flags, &app, look));
        assert_eq!(host.sh(&command), "0022\n755\n644\n644\n4096\n4096");
    }
    let notify = run("--sdnotify container --user 1000", &app, "sh -c '[ -w $NOTIFY_SOCKET ]'");
    host.sh(&format!("umask 077; NOTIFY_SOCKET=/run/systemd/notify {notify}"));
    start(host, "", &app, "sleep 1000");
    let inside = "umask 077; ulimit -n 4096; updater-launch exec box sh -c 'umask; ulimit -Hn'";
    assert_eq!(host.sh(inside), "0022\n4096");
    // What holds the container's environment is root's alone.
    host.sh("[ $(stat -c %a /run/updaterd/containers/*/) = 700 ]");
}

fn working_directories(host: &Host) {
    let image = Image::app("v1").with("WorkingDir", "/app/not/there").with("User", "app");
    let app = prepare_image(host, &image);
    let look = "sh -c 'pwd; stat -c %u:%g:%a . ; touch here'";
    assert_eq!(host.sh(&run("", &app, look)), "/app/not/there\n1000:1001:755");
    assert_eq!(host.sh(&run("--read-only", &app, "pwd")), "/app/not/there");
    for (directory, why) in [("/nope", "does not exist"), ("/etc/passwd", "is not a directory")] {
        let refused = host.fails(126, &run(&format!("--workdir {directory}"), &app, "true"));
        let told = format!("\"{directory}\" {why}");
        assert!(refused.stderr.contains(&told), "{}", refused.describe());
    }
    start(host, "", &app, "sleep 1000");
    let refused = host.fails(126, "updater-launch exec --workdir /nope box true");
    assert!(refused.stderr.contains("\"/nope\" does not exist"), "{}", refused.describe());
}

fn failures_name_their_cause(host: &Host) {
    let app = prepare(host);
    host.write("/srv/file", "a file\n");
    let long = "a".repeat(80);
    for (flags, cause) in [
        ("--volume /srv/file:/app", "\"/app\": EINVAL"),
        ("--tmpfs /scratch:size=bogus", "\"/scratch\": EINVAL"),
        (&format!("--hostname {long}"), &*long),
    ] {
        let failed = host.fails(125, &run(flags, &app, "true"));
        assert!(failed.stderr.contains(cause), "{}", failed.describe());
    }
}

fn the_callers_groups(host: &Host) {
    let app = prepare(host);
    let member = "setpriv --groups 0,4,27";
    let groups = "grep Groups: /proc/self/status";
    for user in ["1000", "7:8", "root"] {
        let command = run(&format!("--user {user}"), &app, groups);
        let expected = if user == "1000" { "Groups:\t1002" } else { "Groups:" };
        assert_eq!(host.sh(&format!("{member} {command}")), expected, "{user}");
    }
    start(host, "", &app, "sleep 1000");
    assert_eq!(host.sh(&format!("{member} updater-launch exec --user 7 box {groups}")), "Groups:");
}

fn descriptors_from_systemd(host: &Host) {
    let app = prepare(host);
    let look = "sh -c 'env | grep LISTEN | sort; [ ! -e /proc/self/fd/3 ] || cat <&3'";
    let call = |pid: &str| {
        let command = run("", &app, look);
        let variables = format!("LISTEN_FDS=1 LISTEN_PID={pid} LISTEN_FDNAMES=web");
        host.sh(&format!("echo passed > /tmp/passed; ({variables} exec {command}) 3< /tmp/passed"))
    };
    assert_eq!(call("1"), "");
    assert_eq!(call("$BASHPID"), "LISTEN_FDNAMES=web\nLISTEN_FDS=1\nLISTEN_PID=1\npassed");
    // In the background, the process that systemd started is not the one that starts the program.
    let start = format!(
        "updater-launch run -d --rm --name box --stop-timeout 0 --network host {app} sleep 1000"
    );
    host.sh(&format!("(LISTEN_FDS=1 LISTEN_PID=$BASHPID exec {start}) 3< /tmp/passed"));
    let environment =
        "updater-launch exec box sh -c \"tr '\\0' '\\n' < /proc/1/environ; cat /proc/1/fd/3\"";
    let told = host.sh(environment);
    assert!(told.contains("LISTEN_FDS=1") && told.ends_with("passed"), "{told}");
    // The command of an exec gets none.
    let inside = "sh -c '[ ! -e /proc/self/fd/3 ]; [ -z $LISTEN_FDS ]'";
    host.sh(&format!(
        "(LISTEN_FDS=1 LISTEN_PID=$BASHPID exec updater-launch exec box {inside}) 3< /tmp/passed"
    ));
}

fn later_mounts_of_the_host(host: &Host) {
    let app = prepare(host);
    host.sh("mkdir -p /srv/volume/below; mount --make-rshared /");
    start(host, "-v /srv/volume:/v:ro", &app, "sleep 1000");
    host.sh("mount -t tmpfs none /srv/volume/below");
    let seen = host.sh("updater-launch exec box grep -c ' /v/below ' /proc/mounts || true");
    let refused = host.run("updater-launch exec box touch /v/below/file");
    host.sh("umount /srv/volume/below");
    assert_eq!(seen, "0");
    assert_ne!(refused.status, 0);
}

fn devices(host: &Host) {
    let app = prepare(host);
    // A device of the host that is in no default list, and that this host itself can open.
    let numbers = host.sh("for numbers in '10 229' '10 237' '5 1' '4 0'; do
             rm -f /srv/node; mknod -m 600 /srv/node c $numbers
             if (: < /srv/node) 2>/dev/null; then echo $numbers; break; fi
         done");
    assert_ne!(numbers, "", "no device to try with");
    let open = "(: < /dev/node) && echo open || echo shut";
    let node = format!("mknod /dev/node c {numbers} && {open}");
    let zero = "mknod /dev/z c 1 5 && head -c 3 /dev/z | wc -c";
    let in_root = "mknod /z c 1 5 && head -c 3 /z | wc -c";
    for capability in ["MKNOD", "all"] {
        let flags = format!("--cap-add {capability}");
        let with = |script: &str| host.sh(&run(&flags, &app, &format!("sh -c '{script}'")));
        assert_eq!(with(zero), "3");
        assert_eq!(with(&node), "shut");
        assert_eq!(with(in_root), "0");
    }
    // One that is bound by name was asked for.
    let bound = "-v /srv/node:/dev/node:dev --cap-add MKNOD";
    assert_eq!(host.sh(&run(bound, &app, &format!("sh -c '{open}'"))), "open");
    start(host, "--cap-add MKNOD", &app, "sleep 1000");
    assert_eq!(host.sh(&format!("updater-launch exec box sh -c '{node}'")), "shut");
    let refused = host.fails(125, &run("--cgroups=disabled --cap-add MKNOD", &app, "true"));
    assert!(refused.stderr.contains("cgroup"), "{}", refused.describe());
}

fn environments(host: &Host) {
    let variables = ["PATH=/bin", "FOO BAR=x", "HOMES=1"];
    let app = prepare_image(host, &Image::app("v1").with("Env", variables));
    let told = host.sh(&format!("FOO=$'\\xff' {}", run("", &app, "env")));
    for expected in ["FOO BAR=x", "PATH=/bin", "HOME=/root"] {
        assert!(told.lines().any(|line| line == expected), "{expected}: {told}");
    }
    assert!(!told.contains("FOO="), "{told}");
    start(host, "", &app, "sleep 1000");
    let home =
        |flags: &str| host.sh(&format!("updater-launch exec {flags} box sh -c 'echo $HOME'"));
    assert_eq!(home(""), "/root");
    assert_eq!(home("--user app"), "/");
    assert_eq!(home("--user app -e HOME=/mine"), "/mine");
    host.sh("updater-launch stop box");
    start(host, "-e HOME=/everyone", &app, "sleep 1000");
    assert_eq!(home("--user app"), "/everyone");
}

fn a_missing_interpreter(host: &Host) {
    let app = prepare(host);
    host.sh("printf '#!/no/such/shell\\n' > /srv/script; chmod +x /srv/script");
    let failed = host.fails(127, &run("-v /srv/script:/bin/script", &app, "script"));
    assert!(failed.stderr.contains("interpreter"), "{}", failed.describe());
}

fn volumes_begin_with_what_the_image_has(host: &Host) {
    let mut layer = Layer::new();
    layer.directory("data", 0o750);
    layer.file("data/file", 0o640, b"from the image\n");
    layer.file("run/app/state", 0o600, b"state\n");
    let volumes = serde_json::json!({ "/data": {}, "/new": {} });
    let app = prepare_image(host, &Image::app("v1").layer(layer).with("Volumes", volumes));
    let look = "sh -c 'cat /data/file; stat -c %a /data; echo mine >> /data/file; grep \" /data \" /proc/mounts'";
    let told = host.sh(&run("--tmpfs /data:noexec,size=1m", &app, look));
    assert!(
        told.starts_with("from the image\n750\ntmpfs /data tmpfs rw,nosuid,nodev,noexec"),
        "{told}"
    );
    assert!(told.contains("size=1024k"), "{told}");
    let open = host.sh(&run("--tmpfs /data:exec,suid,dev", &app, look));
    assert!(open.contains("tmpfs /data tmpfs rw,relatime"), "{open}");
    let empty = run("--tmpfs /data:notmpcopyup", &app, "ls /data");
    assert_eq!(host.sh(&empty), "");
    let full = host.fails(125, &run("--tmpfs /bin:size=4k", &app, "true"));
    assert!(full.stderr.contains("/bin"), "{}", full.describe());

    let look = "sh -c 'cat /data/file /run/app/state; stat -c %a /data /run; touch /data/x /new/x /run/x /tmp/x'";
    let told = host.sh(&run("--read-only", &app, look));
    assert_eq!(told, "from the image\nstate\n750\n755");
    assert_ne!(host.run(&run("--read-only", &app, "sh -c 'echo >> /etc/hosts'")).status, 0);
    assert_eq!(host.sh(&run("--read-only", &app, "cat /data/file")), "from the image");
    host.sh("[ -z \"$(ls /var/lib/updaterd/containers)\" ]");
    // A socket is not a file of the root file system.
    let told = run("--read-only --sdnotify container", &app, "sh -c '[ -S $NOTIFY_SOCKET ]'");
    host.sh(&format!("NOTIFY_SOCKET=/run/systemd/notify {told}"));
}

/// `_exit(7)`, as an ELF file for i386: a header, a program header, four instructions.
const EXIT_7: &str = "\\x7fELF\\1\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\3\\0\\1\\0\\0\\0\\x54\\x80\\4\\x08\
\\x34\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\x34\\0\\x20\\0\\1\\0\\0\\0\\0\\0\\0\\0\
\\1\\0\\0\\0\\0\\0\\0\\0\\0\\x80\\4\\x08\\0\\x80\\4\\x08\\x60\\0\\0\\0\\x60\\0\\0\\0\\5\\0\\0\\0\\0\\x10\\0\\0\
\\xb8\\1\\0\\0\\0\\xbb\\7\\0\\0\\0\\xcd\\x80";

fn programs_of_32_bits(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("printf '{EXIT_7}' > /srv/program; chmod +x /srv/program"));
    // A kernel that runs none outside runs none inside either, and that is said.
    let expected = if host.run("/srv/program").status == 7 { 7 } else { 126 };
    host.fails(expected, &run("-v /srv/program:/bin/program", &app, "program"));
}
