//! Images that must stay: what they do looks like trouble, and is none.

use super::{Case, Expected};
use crate::image::Image;

const UNTIL_TERM: &str = "while :; do sleep 1000 & wait $!; done";

/// A program that does this, and then runs until it is told to stop.
fn script(script: &str) -> Image {
    Image::script("v2", &format!("trap 'exit 0' TERM\n{script}\n{UNTIL_TERM}"))
}

fn kept(name: &'static str, new: Image) -> Case {
    Case::new(name, Expected::Kept, new)
}

pub(super) fn cases() -> Vec<Case> {
    [starts(), speaks(), stops(), checked(), types(), together()].into_iter().flatten().collect()
}

/// Programs that take their time to start.
fn starts() -> Vec<Case> {
    vec![
        kept("extends-its-start", script("/usr/bin/systemd-notify EXTEND_TIMEOUT_USEC=30000000\nsleep 11\n/usr/bin/systemd-notify --ready"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program().setting("TimeoutStartSec=8")),
        kept("extends-it-again-and-again", script("for i in 1 2 3 4 5; do /usr/bin/systemd-notify EXTEND_TIMEOUT_USEC=10000000; sleep 2.5; done\n/usr/bin/systemd-notify --ready"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program().setting("TimeoutStartSec=8")),
        kept("is-ready-late", script("sleep 8; /usr/bin/systemd-notify --ready"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program()),
        kept("works-hard-at-first", script("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")),
        kept("serves-late", script("sleep 4; httpd -p 127.0.0.1:8201 -h /app"))
            .old(Image::script("v1", "exec httpd -f -p 127.0.0.1:8201 -h /app"))
            .options("settle = \"1s\"\nstart_timeout = \"20s\"\nprobe = \"http://127.0.0.1:8201/version\"\nprobe_timeout = \"30s\""),
        kept("prepares-slowly", script("")).unit(|unit| unit.setting("ExecStartPre=/bin/sleep 3")),
        kept("is-checked-by-its-unit", script("sleep 3; touch /tmp/up")).old(script("touch /tmp/up; echo v1 > /app/version")).unit(|unit| {
            unit.setting("ExecStartPost=/bin/sh -c 'until updater-launch exec %N test -e /tmp/up; do sleep 0.3; done'")
        }),
    ]
}

/// Programs that say much, to systemd or to the journal.
fn speaks() -> Vec<Case> {
    vec![
        kept("says-how-it-is", script("/usr/bin/systemd-notify --ready STATUS=up\nfor i in 1 2 3 4 5 6; do sleep 1; /usr/bin/systemd-notify STATUS=$i; done"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program()),
        kept("reloads", script("/usr/bin/systemd-notify --ready; sleep 1; /usr/bin/systemd-notify RELOADING=1; sleep 2; /usr/bin/systemd-notify READY=1"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program()),
        kept("is-ready-again-and-again", script("for i in 1 2 3 4 5; do /usr/bin/systemd-notify --ready; sleep 1; done"))
            .old(Image::notifying("v1"))
            .unit(|unit| unit.notified_by_program()),
        kept("watchdog-fed", script("/usr/bin/systemd-notify --ready\nwhile :; do /usr/bin/systemd-notify WATCHDOG=1; sleep 0.5; done"))
            .old(Image::script("v1", "trap 'exit 0' TERM\n/usr/bin/systemd-notify --ready\nwhile :; do /usr/bin/systemd-notify WATCHDOG=1; sleep 0.5; done"))
            .options("settle = \"12s\"")
            .unit(|unit| unit.notified_by_program().setting("WatchdogSec=8\nRestart=on-watchdog")),
        kept("writes-many-lines", script("seq 1 20000")),
        kept("complains", script("echo 'panic: fatal error' >&2; /bin/false")),
    ]
}

/// Programs that do not go easily: what was before says nothing of what comes.
fn stops() -> Vec<Case> {
    let deaf = |version: &str| Image::script(version, "trap '' TERM\nwhile :; do sleep 1; done");
    vec![
        kept("old-one-stops-slowly", script(""))
            .old(Image::script("v1", "trap 'sleep 4; exit 0' TERM\nwhile :; do sleep 0.1; done")),
        kept("old-one-has-to-be-killed", script(""))
            .old(deaf("v1"))
            .unit(|unit| unit.flag("--stop-timeout 2")),
        kept("old-one-is-killed-by-systemd", script(""))
            .old(deaf("v1"))
            .unit(|unit| unit.flag("--stop-timeout 60").setting("TimeoutStopSec=3")),
        kept("old-one-fails-at-its-end", script(""))
            .old(Image::script("v1", &format!("trap 'exit 3' TERM\n{UNTIL_TERM}"))),
        kept("old-one-fails-and-is-restarted", script(""))
            .old(Image::script("v1", &format!("trap 'exit 3' TERM\n{UNTIL_TERM}")))
            .unit(|unit| unit.setting("Restart=always\nRestartSec=100ms")),
        kept("new-one-is-deaf", deaf("v2")).unit(|unit| unit.flag("--stop-timeout 1")),
    ]
}

/// Programs that are checked, and well in the end.
fn checked() -> Vec<Case> {
    vec![
        kept("healthy-late", script("sleep 7; touch /tmp/ok")).old(script("touch /tmp/ok")).options("settle = \"2s\"").unit(|unit| {
            unit.flag("--health-cmd 'cat /tmp/ok' --health-interval 500ms --health-retries 2 --health-start-period 30s")
        }),
        kept("ready-when-healthy", script("sleep 4; touch /tmp/ok")).old(script("touch /tmp/ok")).unit(|unit| {
            unit.flag("--sdnotify=healthy --health-cmd 'cat /tmp/ok' --health-interval 500ms --health-retries 2 --health-start-period 30s")
        }),
        kept("starts-up-late", script("sleep 5; touch /tmp/ok")).old(script("touch /tmp/ok")).unit(|unit| {
            unit.flag("--health-cmd true --health-startup-cmd 'cat /tmp/ok' --health-startup-interval 500ms --health-startup-retries 30")
        }),
        kept("ails-once", script("sleep 2; touch /tmp/bad; sleep 1; rm /tmp/bad")).unit(|unit| {
            unit.flag("--health-cmd 'test ! -e /tmp/bad' --health-interval 500ms --health-retries 10")
        }),
        kept("ails-and-that-does-not-count", script("")).options("health = false").unit(|unit| {
            unit.flag("--health-cmd 'grep v1 /app/version' --health-interval 500ms --health-retries 2")
        }),
        kept("is-never-checked", script("")).unit(|unit| unit.flag("--health-cmd 'sleep 2' --health-interval 1h")),
    ]
}

/// A pod's own unit.
const POD: &str = "[Service]\nType=forking\nPIDFile=/run/pod-good.pid\n\
    ExecStartPre=/usr/bin/updater-launch pod create --infra-conmon-pidfile /run/pod-good.pid --name good --network none --replace\n\
    ExecStart=/usr/bin/updater-launch pod start good\n\
    ExecStop=/usr/bin/updater-launch pod stop --ignore good -t 10\n\
    ExecStopPost=/usr/bin/updater-launch pod rm --ignore -f good\n";

/// Other units than those of `Type=notify`.
fn types() -> Vec<Case> {
    vec![
        kept("exec", script("")).unit(|unit| unit.kind("exec")),
        kept("simple", script(""))
            .unit(|unit| unit.kind("simple").setting("ExecStartPre=/bin/sleep 1")),
        kept("forking-with-a-pid-file", script("")).unit(|unit| {
            unit.kind("forking")
                .flag("--detach --conmon-pidfile /run/%N.pid --sdnotify=ignore")
                .setting("PIDFile=/run/%N.pid")
        }),
        kept("forking-without", script(""))
            .unit(|unit| unit.kind("forking").flag("--detach --sdnotify=ignore")),
        kept("of-a-socket", script("")).beside(&[(
            "of-a-socket.socket",
            "[Socket]\nListenStream=127.0.0.1:8204\n",
        )]),
        kept("of-a-socket-that-is-asked", script("")).beside(&[
            ("of-a-socket-that-is-asked.socket", "[Socket]\nListenStream=127.0.0.1:8205\n"),
            (
                "client-of-a-socket.service",
                "[Service]\nExecStart=/bin/sh -c 'while :; do busybox timeout 1 busybox nc 127.0.0.1 8205 < /dev/null; sleep 0.2; done'\n",
            ),
        ]),
        kept("in-a-pod", script(""))
            .unit(|unit| {
                unit.unit_setting("BindsTo=pod-good.service\nAfter=pod-good.service").flag("--pod good")
            })
            .beside(&[("pod-good.service", POD)]),
        kept("of-a-template", script("")).of_a_template(),
        kept("restart-always", script("")).unit(|unit| unit.setting("Restart=always")),
        kept("remains-after-exit", script("")).unit(|unit| unit.setting("RemainAfterExit=yes")),
        kept("with-an-init", script("for i in 1 2 3; do (sleep 0.2 &); done"))
            .unit(|unit| unit.flag("--init")),
        kept("read-only", script("touch /tmp/x"))
            .unit(|unit| unit.flag("--read-only --tmpfs /tmp")),
        kept("of-another-user", script("")).old(Image::app("v1").with("User", "app")),
    ]
}

/// Programs of more than one process.
fn together() -> Vec<Case> {
    vec![
        kept("workers-come-and-go", script("(while :; do sh -c 'sleep 0.3; exit 1'; done) &")),
        kept(
            "executes-itself-anew",
            Image::script(
                "v2",
                "trap 'exit 0' TERM\n[ -n \"$AGAIN\" ] || { sleep 2; AGAIN=yes exec /app/start; }\nwhile :; do sleep 1000 & wait $!; done",
            ),
        ),
        kept(
            "executes-itself-anew-and-says-so",
            Image::script(
                "v2",
                "trap 'exit 0' TERM\n/usr/bin/systemd-notify --ready MAINPID=$$\n[ -n \"$AGAIN\" ] || { sleep 2; AGAIN=yes exec /app/start; }\nwhile :; do sleep 1000 & wait $!; done",
            ),
        )
        .old(Image::notifying("v1"))
        .unit(|unit| unit.notified_by_program()),
        kept("a-worker-crashes", script("sh -c 'kill -SEGV $$'; sleep 1; sh -c 'kill -KILL $$'")),
        kept("its-client-stops-along", script("httpd -p 127.0.0.1:8202 -h /app")).beside(&[(
            "client-that-stops-along.service",
            "[Unit]\nRequires=its-client-stops-along.service\nAfter=its-client-stops-along.service\n\
             [Service]\nExecStart=/bin/sh -c 'until busybox wget -qO- http://127.0.0.1:8202/version; do sleep 0.3; done; exec sleep 1000'\n",
        )]),
        kept("its-client-fails-at-first", script("sleep 3; httpd -p 127.0.0.1:8203 -h /app"))
            .old(Image::script("v1", "exec httpd -f -p 127.0.0.1:8203 -h /app"))
            .beside(&[(
                "client-that-fails-at-first.service",
                "[Unit]\nBindsTo=its-client-fails-at-first.service\nAfter=its-client-fails-at-first.service\n\
                 StartLimitIntervalSec=0\n\
                 [Service]\nRestart=always\nRestartSec=500ms\n\
                 ExecStart=/bin/sh -c 'busybox wget -qO- http://127.0.0.1:8203/version || exit 1; exec sleep 1000'\n",
            )]),
    ]
}
