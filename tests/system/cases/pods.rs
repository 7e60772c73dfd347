//! Pods: what containers share, and pods as units.

use crate::host::{Host, seconds};
use crate::registry::prepare;

cases![
    containers_of_a_pod_share_what_it_says,
    a_pod_is_made_listed_and_removed,
    what_is_the_pods_is_refused_for_a_container,
    a_pod_may_end_with_its_last_container,
    a_pod_and_its_containers_are_units,
    a_pod_comes_back_after_a_crash,
];

fn containers_of_a_pod_share_what_it_says(host: &Host) {
    let app = prepare(host);
    host.sh("updater-launch pod create --name duo --network none");
    for name in ["one", "two"] {
        host.sh(&format!("updater-launch run -d --pod duo --name {name} {app} sleep 4711"));
    }
    let look =
        |name: &str, command: &str| host.sh(&format!("updater-launch exec {name} {command}"));
    for namespace in ["net", "ipc", "uts"] {
        let link = format!("readlink /proc/1/ns/{namespace}");
        assert_eq!(look("one", &link), look("two", &link), "{namespace}");
        assert_ne!(look("one", &link), host.sh(&format!("readlink /proc/self/ns/{namespace}")));
    }
    assert_ne!(look("one", "readlink /proc/1/ns/pid"), look("two", "readlink /proc/1/ns/pid"));
    assert_eq!(look("two", "hostname"), "duo");
    assert!(look("two", "cat /etc/hosts").contains("duo"));
    look("one", "sh -c 'echo shared > /dev/shm/file'");
    assert_eq!(look("two", "cat /dev/shm/file"), "shared");
    host.sh("updater-launch pod stop --time 0 duo");
    assert_eq!(host.sh("updater-launch ps --quiet; pgrep -fx 'sleep 4711' || true"), "");

    host.sh("updater-launch pod create --name all --share +pid --network host");
    host.sh(&format!("updater-launch run -d --pod all --name three {app} sleep 4712"));
    host.sh(&format!("updater-launch run -d --pod all --name four {app} sleep 4713"));
    assert!(look("four", "ps").contains("sleep 4712"));
    assert_eq!(look("four", "readlink /proc/self/ns/net"), host.sh("readlink /proc/self/ns/net"));
}

fn a_pod_is_made_listed_and_removed(host: &Host) {
    let app = prepare(host);
    let id =
        host.sh("updater-launch pod create --pod-id-file /run/x.pod --label a=b --network none x");
    assert_eq!(host.sh("cat /run/x.pod"), id);
    let pods = || host.json("updater-launch pod ps --format json");
    assert_eq!((&pods()[0]["Name"], &pods()[0]["Status"]), (&"x".into(), &"Created".into()));
    assert!(
        host.fails(125, "updater-launch pod create x --network none").stderr.contains("in use")
    );
    let same = format!("updater-launch run --network none --name x {app} true");
    assert!(host.fails(125, &same).stderr.contains("in use by pod"));
    host.sh(&format!("updater-launch run -d --pod-id-file /run/x.pod --name web {app} sleep 4711"));
    host.sh(&format!("updater-launch create --pod x --name idle {app} sleep 4712"));
    assert_eq!(pods()[0]["Status"], "Degraded");
    let inspected = host.json("updater-launch pod inspect x");
    assert_eq!(
        (&inspected[0]["State"], &inspected[0]["NumContainers"]),
        (&"Degraded".into(), &3.into())
    );
    host.sh("updater-launch pod start x");
    assert_eq!(pods()[0]["Status"], "Running");
    assert!(host.fails(125, "updater-launch pod rm x").stderr.contains("--force"));
    host.sh("updater-launch pod kill x");
    host.wait_until("both have ended", seconds(5), || pods()[0]["Status"] == "Degraded");
    host.sh("updater-launch pod restart x");
    assert_eq!(pods()[0]["Status"], "Running");
    host.sh("updater-launch pod rm --force --time 0 x");
    host.fails(1, "updater-launch pod exists x");
    host.fails(125, "updater-launch pod rm x");
    host.sh("updater-launch pod rm --ignore --pod-id-file /run/x.pod");
    assert_eq!(
        host.sh(
            "updater-launch ps --all --quiet; ls /run/updaterd/pods; ls /run/x.pod 2> /dev/null || true"
        ),
        ""
    );
    host.sh(&format!("updater-launch run --rm --pod new:fresh {app} true"));
    host.sh("updater-launch pod exists fresh");
}

fn what_is_the_pods_is_refused_for_a_container(host: &Host) {
    let app = prepare(host);
    host.sh("updater-launch pod create --name duo --network none");
    for flag in ["--hostname x", "--network host"] {
        let run = format!("updater-launch run --pod duo {flag} {app} true");
        assert!(host.fails(125, &run).stderr.contains("pod's"), "{flag}");
    }
    let share = host.fails(125, "updater-launch pod create --network none --share net,time");
    assert!(share.stderr.contains("\"time\""), "{}", share.stderr);
    host.fails(125, &format!("updater-launch run --pod none {app} true"));
}

fn a_pod_may_end_with_its_last_container(host: &Host) {
    let app = prepare(host);
    host.sh("updater-launch pod create --name brief --exit-policy stop --network none");
    host.sh(&format!("updater-launch run -d --pod brief --name one {app} sleep 4711"));
    host.sh(&format!("updater-launch run -d --pod brief --name two {app} sleep 4712"));
    host.sh("updater-launch stop --time 0 one");
    host.sh("test $(updater-launch pod inspect brief | grep -c ConmonPid.*[0-9]) = 1");
    host.sh("updater-launch stop --time 0 two");
    host.wait_for("! pgrep pod-infra", seconds(5));
}

/// As `podman generate systemd --new` writes them, with this program's name.
fn units(host: &Host, app: &str) {
    let launch = "/usr/bin/updater-launch";
    host.write(
        "/etc/systemd/system/pod-duo.service",
        &format!(
            "[Unit]\nWants=one.service\nBefore=one.service\n\
             [Service]\nType=forking\nPIDFile=%t/pod-duo.pid\nTimeoutStopSec=70\n\
             ExecStartPre={launch} pod create --infra-conmon-pidfile %t/pod-duo.pid \
             --pod-id-file %t/pod-duo.pod-id --name duo --network none --replace\n\
             ExecStart={launch} pod start --pod-id-file %t/pod-duo.pod-id\n\
             ExecStop={launch} pod stop --ignore --pod-id-file %t/pod-duo.pod-id -t 10\n\
             ExecStopPost={launch} pod rm --ignore -f --pod-id-file %t/pod-duo.pod-id\n"
        ),
    );
    host.write(
        "/etc/systemd/system/one.service",
        &format!(
            "[Unit]\nBindsTo=pod-duo.service\nAfter=pod-duo.service\n\
             [Service]\nType=notify\nNotifyAccess=all\nTimeoutStopSec=70\n\
             ExecStart={launch} run --cidfile=%t/%n.ctr-id --cgroups=no-conmon --rm \
             --pod-id-file %t/pod-duo.pod-id --sdnotify=conmon -d --replace --name one {app}\n\
             ExecStop={launch} stop --ignore -t 10 --cidfile=%t/%n.ctr-id\n\
             ExecStopPost={launch} rm -f --ignore -t 10 --cidfile=%t/%n.ctr-id\n"
        ),
    );
    host.sh("systemctl daemon-reload; systemctl start pod-duo.service one.service");
}

fn a_pod_and_its_containers_are_units(host: &Host) {
    let app = prepare(host);
    units(host, &app);
    let main = host.property("pod-duo.service", "MainPID");
    assert_eq!(host.sh("cat /run/pod-duo.pid"), main);
    let invocation = host.property("one.service", "InvocationID");
    host.sh("systemctl restart one.service");
    assert_eq!(host.property("pod-duo.service", "MainPID"), main);
    assert_ne!(host.property("one.service", "InvocationID"), invocation);
    host.sh("systemctl stop pod-duo.service");
    for unit in ["pod-duo.service", "one.service"] {
        assert_eq!(host.property(unit, "ActiveState"), "inactive", "{unit}");
    }
    assert_eq!(host.sh("updater-launch ps --all --quiet; updater-launch pod ps --quiet"), "");
    host.sh("systemctl start pod-duo.service");
    host.wait_for("systemctl is-active one.service", seconds(5));
}

fn a_pod_comes_back_after_a_crash(host: &Host) {
    let app = prepare(host);
    units(host, &app);
    host.sh("systemctl kill --kill-whom=main --signal=KILL pod-duo.service");
    host.wait_until("the pod's unit is down", seconds(15), || {
        host.property("pod-duo.service", "ActiveState") == "failed"
            && host.property("one.service", "ActiveState") != "active"
    });
    host.sh("systemctl start pod-duo.service");
    host.wait_for("systemctl is-active one.service && updater-launch exec one true", seconds(10));
    // A power cut: nothing is stopped, and what was running state is gone.
    host.sh("systemctl kill --signal=KILL pod-duo.service one.service
         rm -rf /run/updaterd /run/pod-duo.* /run/one.service.ctr-id");
    host.wait_until("both are down", seconds(15), || {
        host.property("pod-duo.service", "ActiveState") != "active"
            && host.property("one.service", "ActiveState") != "active"
    });
    host.sh("systemctl reset-failed pod-duo.service one.service || true");
    host.sh("systemctl start pod-duo.service one.service");
    host.sh("updater-launch exec one true");
}
