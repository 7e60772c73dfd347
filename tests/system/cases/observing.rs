//! What is seen of running containers and of this host: top, stats, events, info, version.

use super::commands::prepare;
use crate::host::{Host, seconds};

cases![
    top_shows_processes,
    stats_show_what_there_is,
    events_are_kept_and_followed,
    the_host_and_the_program,
];

fn top_shows_processes(host: &Host) {
    let app = prepare(host);
    let script = "sh -c 'sleep 4711 & exec sleep 4712'";
    host.sh(&format!("updater-launch run -d --name web --network host {app} {script}"));
    host.wait_for("pgrep -fx 'sleep 4711'", seconds(5));
    let shown = host.sh("updater-launch top web");
    let heading: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]);
    let first: Vec<_> = shown.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((first[1], first[2], &first[7..]), ("1", "0", &["sleep", "4712"][..]), "{shown}");
    let some = host.sh("updater-launch top web hpid,args pid");
    let sleeper = host.sh("pgrep -fx 'sleep 4711'");
    let line = some.lines().find(|line| line.contains("sleep 4711")).unwrap();
    assert!(line.starts_with(&sleeper) && line.ends_with(" 2"), "{some}");
    let unknown = host.fails(125, "updater-launch top web nothing");
    assert!(unknown.stderr.contains("etime"), "{}", unknown.describe());
    host.sh("updater-launch stop --time 0 web");
    host.fails(125, "updater-launch top --latest");
}

fn stats_show_what_there_is(host: &Host) {
    let app = prepare(host);
    let id = host.sh(&format!(
        "updater-launch run -d --name web --network none {app} sh -c 'while :; do :; done'"
    ));
    let shown = host.sh("updater-launch stats --no-stream");
    assert!(
        shown.starts_with("ID ") && shown.contains("CPU %") && shown.contains("AVG CPU %"),
        "{shown}"
    );
    let json = &host.json("updater-launch stats --no-stream --format json web")[0];
    assert_eq!((&json["id"], &json["name"]), (&id[..12].into(), &"web".into()));
    let cpu: f64 = json["avg_cpu"].as_str().unwrap().trim_end_matches('%').parse().unwrap();
    assert!(cpu > 5.0, "{json}");
    // No controllers are delegated here: what the kernel does not count is not made up.
    let memory = json["mem_usage"].as_str().unwrap();
    assert!(memory == "--" || memory.contains(" / "), "{json}");
    let twice =
        host.sh("updater-launch stats --interval 1 --format '{{.Name}} {{.CPUPerc}}' | head -n 2");
    assert_eq!(twice.lines().filter(|line| line.starts_with("web ")).count(), 2, "{twice}");
    host.sh("updater-launch rm --force --time 0 web");
    assert_eq!(host.sh("updater-launch stats --no-stream --all | wc -l"), "1");
}

fn events_are_kept_and_followed(host: &Host) {
    let app = prepare(host);
    host.sh("updater-launch events --filter container=web --format '{{.Status}}' > /tmp/followed 2>&1 & echo $! > /tmp/pid");
    host.sh("sleep 0.5");
    host.fails(3, &format!("updater-launch run --rm --name web --label role=front --network host {app} sh -c 'exit 3'"));
    host.sh(&format!("updater-launch create --name other --network host {app}"));
    let all = "updater-launch events --stream=false";
    let statuses = host.sh(&format!("{all} --filter container=web --format '{{{{.Status}}}}'"));
    assert_eq!(statuses, "create\nstart\ndied\nremove");
    host.wait_for("grep remove /tmp/followed; kill $(cat /tmp/pid)", seconds(5));
    assert_eq!(host.sh("cat /tmp/followed"), statuses);
    let died = host.json(&format!("{all} --filter event=died --format json"));
    assert_eq!(
        (&died["Name"], &died["ContainerExitCode"], &died["Attributes"]["role"]),
        (&"web".into(), &3.into(), &"front".into())
    );
    assert_eq!((&died["Image"], &died["Type"]), (&app.clone().into(), &"container".into()));
    let line = host.sh(&format!("{all} --filter event=start"));
    assert!(
        line.contains(" container start ")
            && line.contains("name=web")
            && line.contains("role=front"),
        "{line}"
    );
    assert_eq!(host.sh(&format!("{all} --filter label=role=front | wc -l")), "4");
    host.sh(&format!("updater-launch tag {app} localhost:5000/app:kept; updater-launch rmi localhost:5000/app:kept"));
    let images = host.sh(&format!("{all} --filter type=image --format '{{{{.Status}}}}'"));
    assert_eq!(images, "pull\ntag\nuntag");
    assert_eq!(host.sh(&format!("{all} --until 1h")), "");
    assert_eq!(
        host.sh("updater-launch events --since 1h --until 0s --filter event=died | wc -l"),
        "1"
    );
    host.fails(125, &format!("{all} --filter x=y"));
    // A log that cannot be written keeps nobody from anything.
    host.sh("rm /run/updaterd/events.log; mkdir /run/updaterd/events.log");
    host.sh(&format!("updater-launch run --rm --network host {app} true"));
}

fn the_host_and_the_program(host: &Host) {
    let app = prepare(host);
    host.sh(&format!("updater-launch create --name web --network host {app}"));
    let info = host.json("updater-launch info --format json");
    assert_eq!(info["store"]["graphRoot"], "/var/lib/updaterd");
    assert_eq!(info["store"]["containerStore"]["number"], 1);
    assert_eq!(info["host"]["kernel"], host.sh("uname -r"));
    assert_eq!(
        host.sh("updater-launch info --format '{{.Host.Security.Rootless}} {{.Store.RunRoot}}'"),
        "false /run/updaterd"
    );
    assert!(host.sh("updater-launch info").contains("  graphDriverName: overlay\n"));
    let version = host.sh("updater-launch version --format '{{.Client.Version}}'");
    assert_eq!(format!("updater-launch {version}"), host.sh("updater-launch --version"));
    assert!(host.sh("updater-launch version").contains(&version));
    for shell in ["bash", "zsh", "fish"] {
        assert!(host.sh(&format!("updater-launch completion {shell}")).contains("no-trunc"));
    }
    host.sh("bash -n <(updater-launch completion bash)");
}
