//! Images that must not stay.

use super::{Case, Expected};
use crate::image::{Image, Layer};

/// A program that does this before it goes on as any other, and so never does where it fails.
fn script(script: &str) -> Image {
    Image::script("v2", script)
}

/// The program of [`Image::app`], started with another command line.
fn command(words: &[&str]) -> Image {
    Image::app("v2").with("Cmd", words)
}

fn back(name: &'static str, new: Image) -> Case {
    Case::new(name, Expected::RolledBack, new)
}

/// Programs that do not run, or not for long.
pub(super) fn programs() -> Vec<Case> {
    [ends(), restarts(), cannot_start(), incomplete()].into_iter().flatten().collect()
}

/// Programs that run, and do not do what their unit, its health checks or its operator expect.
pub(super) fn services() -> Vec<Case> {
    [never_ready(), unwell(), lacks(), other_types(), together()].into_iter().flatten().collect()
}

/// Programs that end, sooner or later.
fn ends() -> Vec<Case> {
    vec![
        back("exits-0-at-once", script("exit 0")),
        back("exits-1-at-once", script("exit 1")),
        back("exits-0-later", script("sleep 3; exit 0")),
        back("exits-1-later", script("sleep 3; exit 1")),
        back("exits-after-8s", script("sleep 8; exit 1")).options("settle = \"14s\""),
        back("exits-125", script("exit 125")),
        back("exits-126", script("exit 126")),
        back("exits-127", script("exit 127")),
        back("status-counts-as-success", script("sleep 1; exit 3"))
            .unit(|unit| unit.setting("SuccessExitStatus=3")),
        back("goes-into-the-background", script("(sleep 1000 &)\nexit 0")),
        back("killed-by-a-signal", script("sleep 1; kill -SEGV $$; sleep 1000"))
            .unit(|unit| unit.flag("--init")),
        back("aborts", script("sleep 1; kill -ABRT $$; sleep 1000"))
            .unit(|unit| unit.flag("--init").setting("Restart=on-failure")),
        back("a-worker-takes-it-along", script("(sleep 1; kill -TERM 1) &\nwait; exit 2")),
    ]
}

/// Programs that systemd starts again and again.
fn restarts() -> Vec<Case> {
    let crashing = || Image::crashing_later("v2");
    vec![
        back("restart-on-failure", crashing())
            .unit(|unit| unit.setting("Restart=on-failure\nRestartSec=100ms")),
        back("restart-always", crashing())
            .unit(|unit| unit.setting("Restart=always\nRestartSec=100ms")),
        back("restart-always-of-a-success", script("sleep 1; exit 0"))
            .unit(|unit| unit.setting("Restart=always\nRestartSec=100ms")),
        back("restart-on-success", script("sleep 1; exit 0"))
            .unit(|unit| unit.setting("Restart=on-success")),
        back("restart-on-abnormal", crashing()).unit(|unit| unit.setting("Restart=on-abnormal")),
        back("restart-on-abort", crashing()).unit(|unit| unit.setting("Restart=on-abort")),
        back("restart-in-a-minute", crashing())
            .unit(|unit| unit.setting("Restart=always\nRestartSec=1min")),
        back("restart-is-prevented", crashing())
            .unit(|unit| unit.setting("Restart=always\nRestartPreventExitStatus=3")),
        back("restart-until-the-limit", script("exit 3")).unit(|unit| {
            unit.unit_setting("StartLimitIntervalSec=1h\nStartLimitBurst=3")
                .setting("Restart=always\nRestartSec=50ms")
        }),
    ]
}

/// Programs of which nothing runs.
fn cannot_start() -> Vec<Case> {
    let mut not_executable = Layer::new();
    not_executable.file("app/plain", 0o644, b"#!/bin/sh\nsleep 1000\n");
    let mut no_interpreter = Layer::new();
    no_interpreter.file("app/orphan", 0o755, b"#!/no/such/interpreter\n");
    let mut dynamic = Layer::new();
    dynamic.file("app/dynamic", 0o755, &std::fs::read("/bin/true").unwrap());
    let mut foreign = Layer::new();
    foreign.file("app/foreign", 0o755, &foreign_program());
    vec![
        back("no-such-program", command(&["/no/such/program"])),
        back("no-such-program-in-the-path", command(&["no-such-program"])),
        back("not-executable", command(&["/app/plain"]).layer(not_executable)),
        back("no-interpreter", command(&["/app/orphan"]).layer(no_interpreter)),
        back("no-shared-library", command(&["/app/dynamic"]).layer(dynamic)),
        back("another-architecture", command(&["/app/foreign"]).layer(foreign)),
        back("a-directory-for-a-program", command(&["/app"])),
        back("entrypoint-broken", Image::app("v2").with("Entrypoint", ["/app/entry"])),
        // As Podman's, the launcher's status is 125 then, and says nothing of the image.
        Case::new(
            "no-command",
            Expected::Excused,
            Image::app("v2").with("Cmd", Vec::<String>::new()),
        ),
        back("no-such-user", Image::app("v2").with("User", "nobody-here")),
        back("no-rights", script("cat /root/secret || exit 1; sleep 1000").with("User", "app")),
        back("no-working-directory", Image::app("v2").with("WorkingDir", "/app/version")),
    ]
}

/// Images that are not even begun with.
fn incomplete() -> Vec<Case> {
    let refused = |name, new| Case::new(name, Expected::Refused, new);
    let mut own = Layer::new();
    own.file("app/data", 0o644, b"of no other image");
    vec![
        refused("lost-layer", Image::app("v2").layer(own))
            .spoil(|registry, name| registry.lose_layer(name)),
        refused("damaged-layer", Image::app("v2").layer(Layer::new()))
            .spoil(|registry, name| registry.damage_layer(name)),
        refused("only-for-another-machine", Image::app("v2").for_architecture("sparc64")),
    ]
}

/// busybox, as it is for a machine that no host is.
fn foreign_program() -> Vec<u8> {
    let mut program = std::fs::read("/bin/busybox").unwrap();
    // e_machine of elf(5): EM_SPARC.
    program[18..20].copy_from_slice(&2u16.to_le_bytes());
    program
}

/// Programs that never say that they are ready, or take that back.
fn never_ready() -> Vec<Case> {
    let run = "trap 'exit 0' TERM\nwhile :; do sleep 1000 & wait $!; done";
    vec![
        back("never-ready", script(run))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program().setting("TimeoutStartSec=8")),
        back("not-ready-in-time", script(run))
            .old(Image::notifying("v1"))
            .options("start_timeout = \"6s\"")
            .unit(|unit| unit.notified_by_program().setting("TimeoutStartSec=10min")),
        back("ends-before-it-is-ready", script("sleep 1; exit 0"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program()),
        back("ready-and-gone", script("/usr/bin/systemd-notify --ready; exit 0"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program()),
        back(
            "says-that-it-stops",
            script("/usr/bin/systemd-notify --ready; sleep 1\n/usr/bin/systemd-notify STOPPING=1; sleep 3; exit 0"),
        )
        .old(Image::notifying("v1"))
        .unit(|unit| unit.notified_by_program()),
        back("reloads-for-ever", script("/usr/bin/systemd-notify --ready; sleep 1\n/usr/bin/systemd-notify RELOADING=1; sleep 2; exit 1"))
        .old(Image::notifying("v1"))
        .unit(|unit| unit.notified_by_program()),
        back("watchdog-unfed", script(&format!("/usr/bin/systemd-notify --ready\n{run}")))
            .old(Image::script("v1", FED))
            .options(OUTLASTS_THE_WATCHDOG)
            .unit(|unit| unit.notified_by_program().setting("WatchdogSec=8\nTimeoutAbortSec=2")),
        back("watchdog-unfed-and-restarted", script(&format!("/usr/bin/systemd-notify --ready\n{run}")))
            .old(Image::script("v1", FED))
            .options(OUTLASTS_THE_WATCHDOG)
            .unit(|unit| {
                unit.notified_by_program().setting("WatchdogSec=8\nTimeoutAbortSec=2\nRestart=on-watchdog")
            }),
    ]
}

/// Feeds a watchdog of eight seconds: those that are well have to live under it on a busy machine.
const FED: &str = "trap 'exit 0' TERM\n/usr/bin/systemd-notify --ready\n\
                   while :; do /usr/bin/systemd-notify WATCHDOG=1; sleep 1; done";

/// So that the unit is still watched when the watchdog bites.
const OUTLASTS_THE_WATCHDOG: &str = "settle = \"14s\"";

/// Programs that run, and do not work.
fn unwell() -> Vec<Case> {
    let app = || Image::app("v2");
    vec![
        back("unhealthy", app()).unit(|unit| {
            unit.flag("--health-cmd 'grep v1 /app/version' --health-interval 500ms --health-retries 2")
        }),
        back("never-healthy", app()).options("settle = \"2s\"").unit(|unit| {
            unit.flag("--health-cmd 'grep v1 /app/version' --health-interval 500ms --health-retries 1000 --health-start-period 2s")
        }),
        back("unhealthy-and-killed", app()).unit(|unit| {
            unit.flag("--health-cmd 'grep v1 /app/version' --health-interval 500ms --health-retries 2 --health-on-failure kill")
        }),
        back("unhealthy-and-restarted", app()).unit(|unit| {
            unit.flag("--health-cmd 'grep v1 /app/version' --health-interval 500ms --health-retries 2 --health-on-failure restart")
                .setting("Restart=on-failure")
        }),
        back("never-starts-up", app()).unit(|unit| {
            unit.flag("--health-cmd true --health-startup-cmd 'grep v1 /app/version' --health-startup-interval 500ms --health-startup-retries 2")
        }),
        back("not-ready-while-unhealthy", app()).unit(|unit| {
            unit.flag("--sdnotify=healthy --health-cmd 'grep v1 /app/version' --health-interval 500ms --health-retries 1000")
                .setting("TimeoutStartSec=10")
        }),
        back("serves-nothing", script("nc -lk -p 8101 127.0.0.1 -e sleep 1000"))
            .old(server(8101))
            .options("probe = \"http://127.0.0.1:8101/version\"\nprobe_timeout = \"4s\""),
        back("does-not-listen", app())
            .old(server(8102))
            .options("probe = \"tcp://127.0.0.1:8102\"\nprobe_timeout = \"3s\""),
        back("ready-and-then-deadlocked", script("httpd -f -p 127.0.0.1:8106 -h /app & h=$!\nsleep 1; kill -STOP $h; sleep 1000"))
            .old(server(8106))
            .options("probe = \"http://127.0.0.1:8106/version\"\nprobe_timeout = \"4s\""),
        back("serves-something-else", server_of(8103, "/bin"))
            .old(server(8103))
            .options("probe = \"http://127.0.0.1:8103/version\"\nprobe_timeout = \"3s\""),
    ]
}

fn server(port: u16) -> Image {
    Image::script("v1", &format!("exec httpd -f -p 127.0.0.1:{port} -h /app"))
}

fn server_of(port: u16, directory: &str) -> Image {
    script(&format!("exec httpd -f -p 127.0.0.1:{port} -h {directory}"))
}

/// Programs that want what the unit does not give them.
fn lacks() -> Vec<Case> {
    vec![
        back("no-descriptors-left", script("exec 30< /dev/null\nsleep 1000"))
            .unit(|unit| unit.flag("--ulimit nofile=30:30")),
        back(
            "leaks-descriptors",
            script("i=3; while :; do eval \"exec $i< /dev/null\" || exit 1; i=$((i+1)); sleep 0.1; done"),
        )
        .unit(|unit| unit.flag("--ulimit nofile=30:30")),
        back(
            "no-memory-left",
            script("dd if=/dev/zero of=/dev/null bs=900M count=1 || exit 1\nsleep 1000"),
        )
        .unit(|unit| unit.flag("--ulimit data=100000000:100000000")),
        back("port-in-use", script("exec httpd -f -p 127.0.0.1:5000")),
        back("writes-where-it-may-not", script("echo state > /app/state || exit 1\nsleep 1000"))
            .unit(|unit| unit.flag("--read-only")),
        back("no-such-variable", script("echo ${DATABASE:?is not set}\nsleep 1000")),
        back("no-such-file", script("cat /etc/app.conf || exit 1\nsleep 1000")),
        back("no-such-capability", script("chown 7 /app/version || exit 1\nsleep 1000"))
            .unit(|unit| unit.flag("--cap-drop all")),
        back(
            "no-room-on-tmpfs",
            script("dd if=/dev/zero of=/data/x bs=1M count=9 || exit 1\nsleep 1000"),
        )
        .unit(|unit| unit.flag("--tmpfs /data:size=1m")),
    ]
}

/// A pod's own unit.
const POD: &str = "[Service]\nType=forking\nPIDFile=/run/pod-bad.pid\n\
    ExecStartPre=/usr/bin/updater-launch pod create --infra-conmon-pidfile /run/pod-bad.pid --name bad --network none --replace\n\
    ExecStart=/usr/bin/updater-launch pod start bad\n\
    ExecStop=/usr/bin/updater-launch pod stop --ignore bad -t 10\n\
    ExecStopPost=/usr/bin/updater-launch pod rm --ignore -f bad\n";

/// Other units than those of `Type=notify`.
fn other_types() -> Vec<Case> {
    vec![
        back("exec-crashes", script("sleep 1; exit 1")).unit(|unit| unit.kind("exec")),
        back("simple-crashes", script("exit 1")).unit(|unit| unit.kind("simple")),
        back("simple-succeeds", script("exit 0")).unit(|unit| unit.kind("simple")),
        back("forking-crashes", script("sleep 1; exit 1")).unit(|unit| {
            unit.kind("forking")
                .flag("--detach --conmon-pidfile /run/%N.pid --sdnotify=ignore")
                .setting("PIDFile=/run/%N.pid")
        }),
        back("forking-is-gone-at-once", script("exit 0")).unit(|unit| {
            unit.kind("forking")
                .flag("--detach --conmon-pidfile /run/%N.pid --sdnotify=ignore")
                .setting("PIDFile=/run/%N.pid")
        }),
        back("executes-something-that-is-gone", script("/usr/bin/systemd-notify --ready; sleep 2; exec /no/such/program"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program()),
        back("names-a-main-process-that-dies", script("sleep 2 & /usr/bin/systemd-notify --ready MAINPID=$!; wait; exit 1"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program()),
        back("of-a-socket", script("sleep 1; exit 1")).beside(&[(
            "of-a-socket.socket",
            "[Socket]\nListenStream=127.0.0.1:8107\n",
        )]),
        // Whoever connects has systemd start it again, as nothing else would.
        back("of-a-socket-that-is-asked", script("sleep 1; exit 1")).beside(&[
            ("of-a-socket-that-is-asked.socket", "[Socket]\nListenStream=127.0.0.1:8108\n"),
            (
                "client-of-a-socket.service",
                "[Service]\nExecStart=/bin/sh -c 'while :; do busybox nc 127.0.0.1 8108 < /dev/null; sleep 0.2; done'\n",
            ),
        ]),
        back("of-a-template", script("sleep 1; exit 1")).of_a_template(),
        back("in-a-pod", script("sleep 1; exit 1")).unit(|unit| {
            unit.unit_setting("BindsTo=pod-bad.service\nAfter=pod-bad.service").flag("--pod bad")
        })
        .beside(&[("pod-bad.service", POD)]),
        back("fails-its-units-own-check", Image::app("v2")).unit(|unit| {
            unit.setting(
                "ExecStartPost=/bin/sh -c 'updater-launch exec %N cat /app/version | grep v1'",
            )
        }),
    ]
}

/// Units that others stop with.
fn together() -> Vec<Case> {
    vec![
        // A client that cannot live with what it finds.
        back("its-client-dies-of-it", server_of(8104, "/bin")).old(server(8104)).beside(&[(
            "client-of-it.service",
            "[Unit]\nRequires=its-client-dies-of-it.service\nAfter=its-client-dies-of-it.service\n\
             [Service]\nExecStart=/bin/sh -c 'sleep 1; busybox wget -qO- http://127.0.0.1:8104/version || exit 1; exec sleep 1000'\n",
        )]),
        back("its-client-cannot-start", server_of(8105, "/bin")).old(server(8105)).beside(&[(
            "client-that-asks-first.service",
            "[Unit]\nBindsTo=its-client-cannot-start.service\nAfter=its-client-cannot-start.service\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'sleep 1; busybox wget -qO- http://127.0.0.1:8105/version'\n",
        )]),
    ]
}
