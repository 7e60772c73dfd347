//! The day-to-day verbs, as an ordinary user: on what lies in user namespaces.

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::registry::{Registry, offer, offer_image};
use crate::someone::{STORE, Someone};

cases![
    files_go_both_ways,
    archives_are_saved_and_loaded,
    images_are_removed,
    what_containers_use_is_shown,
    health_is_checked,
    a_sick_container_is_started_again_by_its_unit,
    volumes_are_kept_and_removed,
    secrets_are_given,
];

fn theirs() -> Image {
    let mut layer = Layer::new();
    layer.file_of((1000, 1001), "srv/theirs", b"theirs");
    Image::app("v1").layer(layer)
}

fn files_go_both_ways(host: &Host) {
    let app = offer_image(host, &theirs());
    let someone = Someone::new(host);
    someone.launch("plain", "--network none --user app", &app, "");
    someone.launch("kept", "--network none --userns keep-id", &app, "");
    someone.launch("none", "--network none --userns nomap", &app, "");
    someone.sh("echo in > in; mkdir -p tree/below; echo x > tree/below/x; ln -s x tree/below/link");
    let owners = [("plain", "1000:1001"), ("kept", "4000:4000"), ("none", "0:0")];
    for state in ["running", "stopped"] {
        for (name, _) in owners {
            someone.sh(&format!(
                "updater-launch cp in {name}:/tmp/in; updater-launch cp tree {name}:/tmp"
            ));
            someone.sh(&format!("rm -f theirs back; updater-launch cp {name}:/srv/theirs theirs; updater-launch cp {name}:/tmp/in back"));
            assert_eq!(someone.sh("cat theirs back"), "theirsin", "{name} {state}");
            assert_eq!(host.sh("stat -c %u:%g /home/someone/theirs"), "4000:4000");
            let list =
                format!("updater-launch cp {name}:/srv - | tar --list --verbose --numeric-owner");
            let list = someone.sh(&list);
            assert!(list.contains(" 1000/1001 "), "{name} {state}: {list}");
            // As an archive, with the owners in it.
            let archive = "tar --create --owner=7 --group=8 --numeric-owner in";
            someone.sh(&format!("{archive} | updater-launch cp --archive=false - {name}:/srv"));
        }
        someone.sh("updater-launch cp plain:/tmp/tree kept:/srv");
        if state == "running" {
            let refused = someone.fails(125, "updater-launch cp none:/nonexistent .");
            assert!(refused.stderr.contains("nonexistent"), "{}", refused.describe());
            someone.sh("updater-launch stop --time 0 plain kept none");
        }
    }
    for (name, owner) in owners {
        let look = "stat -c %u:%g /tmp/in /tmp/tree/below/x /srv/in";
        let run = format!(
            "systemd-run --user --quiet --pipe --wait --collect -p Delegate=yes sh -c 'updater-launch start {name}; updater-launch exec {name} {look}; updater-launch stop --time 0 {name}' | grep :"
        );
        let run = run.replace('\'', "\"");
        assert_eq!(someone.sh(&run), format!("{owner}\n{owner}\n7:8"), "{name}");
    }
    someone.sh("updater-launch rm plain kept none");
    assert_eq!(
        host.sh(&format!("ls -A {STORE}/containers {STORE}/tmp | grep -v ^/ | grep . || true")),
        ""
    );
}

fn archives_are_saved_and_loaded(host: &Host) {
    let app = offer_image(host, &theirs());
    let someone = Someone::new(host);
    someone.sh(&format!("updater-launch pull {app}"));
    let look = "stat -c %u:%g /srv/theirs /bin";
    let run = format!("updater-launch run --rm --pull never --network none {app} {look}");
    for format in ["docker-archive", "oci-archive"] {
        someone.sh(&format!("updater-launch save --format {format} -o saved.tar {app}"));
        someone.sh(&format!("updater-launch rmi {app}"));
        assert_eq!(someone.sh("updater-launch images --quiet"), "");
        assert_eq!(host.sh(&format!("ls -A {STORE}/layers/sha256")), "");
        let loaded = someone.sh("updater-launch load -i saved.tar");
        assert!(loaded.contains(&app), "{loaded}");
        assert_eq!(someone.sh(&run), "1000:1001\n0:0", "{format}");
        // Who else reads it finds the image's own users.
        let inspected = host.sh(&format!("skopeo inspect {format}:/home/someone/saved.tar"));
        assert!(inspected.contains("\"Layers\""), "{inspected}");
        someone.sh("rm saved.tar");
    }
    let piped = format!(
        "updater-launch save {app} | cat > saved.tar; updater-launch rmi {app} > /dev/null
         cat saved.tar | updater-launch load"
    );
    assert!(someone.sh(&piped).contains(&app));
    assert_eq!(someone.sh(&run), "1000:1001\n0:0");
    assert_eq!(host.sh(&format!("ls -A {STORE}/tmp")), "");
}

fn images_are_removed(host: &Host) {
    let registry = Registry::start(host);
    registry.push("app:1", &theirs());
    registry.push("app:2", &Image::app("v2"));
    let (first, second) = (registry.reference("app:1"), registry.reference("app:2"));
    let someone = Someone::new(host);
    someone.sh(&format!("updater-launch pull {first}; updater-launch pull {second}"));
    someone.sh(&format!("updater-launch create --name user --network none {first}"));
    let refused = someone.fails(2, &format!("updater-launch rmi {first}"));
    assert!(refused.stderr.contains("user"), "{}", refused.describe());
    someone.sh(&format!("updater-launch rmi {second}; updater-launch rmi --force {first}"));
    assert_eq!(someone.sh("updater-launch images --quiet; updater-launch ps --all --quiet"), "");
    // Files of others, too, which the user alone could not remove.
    let left = format!(
        "ls -A {STORE}/layers/sha256 {STORE}/images/blobs/sha256 {STORE}/containers {STORE}/tmp"
    );
    assert_eq!(host.sh(&format!("{left} | grep -v ^/ | grep . || true")), "");
    someone.sh(&format!("updater-launch pull {first}; updater-launch untag {first}"));
    assert_eq!(someone.sh("updater-launch image prune --force | wc -l"), "1");
    assert_eq!(host.sh(&format!("ls -A {STORE}/layers/sha256")), "");
}

fn what_containers_use_is_shown(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    someone.launch("one", "--network none", &app, "");
    someone.launch("two", "--network none --userns keep-id", &app, "");
    let shown = someone.sh("updater-launch stats --no-stream --format '{{.Name}} {{.PIDS}}'");
    let mut lines: Vec<_> = shown.lines().collect();
    lines.sort_unstable();
    assert!(lines.len() == 2 && lines[0].starts_with("one "), "{shown}");
    let table = someone.sh("updater-launch stats --no-stream one");
    assert!(table.contains("NAME") && table.contains("one"), "{table}");
    let top = someone.sh("updater-launch top two");
    assert!(top.contains("sleep"), "{top}");
    let logs = "updater-launch logs one";
    host.wait_until("it wrote", seconds(10), || someone.run(logs).stdout.contains("v1 started"));
    let sizes = someone.sh("updater-launch ps --size --format '{{.Names}} {{.Size}}'");
    assert!(sizes.contains("one ") && sizes.contains("virtual"), "{sizes}");
    someone.sh("updater-launch pause one; updater-launch unpause one");
    let events = someone
        .sh("updater-launch events --stream=false --filter event=start --format '{{.Name}}'");
    assert!(events.contains("one") && events.contains("two"), "{events}");
    someone.sh("updater-launch rename one other; updater-launch rm --force --time 0 other two");
    assert_eq!(someone.sh("updater-launch ps --all --quiet"), "");
}

fn health_is_checked(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    for (name, users) in [("plain", "--user app"), ("kept", "--userns keep-id")] {
        let flags = "--network none --health-cmd 'test -e /tmp/well' --health-interval 300ms --health-retries 2";
        someone.launch(name, &format!("{flags} {users}"), &app, "");
        let status =
            format!("updater-launch inspect --format '{{{{.State.Health.Status}}}}' {name}");
        let is = |wanted: &str| {
            host.wait_until(wanted, seconds(20), || someone.sh(&status) == wanted);
        };
        is("unhealthy");
        let sick = someone.run(&format!("updater-launch healthcheck run {name}"));
        assert_eq!((sick.status, sick.stdout.trim()), (1, "unhealthy"), "{}", sick.describe());
        someone.sh(&format!("updater-launch exec {name} touch /tmp/well"));
        someone.sh(&format!("updater-launch healthcheck run {name}"));
        is("healthy");
        let listed = someone.sh(&format!("updater-launch ps --filter name={name}"));
        assert!(listed.contains("(healthy)"), "{listed}");
        someone.sh(&format!("updater-launch rm --force --time 0 {name}"));
    }
}

fn a_sick_container_is_started_again_by_its_unit(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    let check = "--health-cmd 'test ! -e /tmp/sick' --health-interval 300ms --health-retries 1";
    let flags = format!("--network none {check} --health-on-failure restart --sdnotify=healthy");
    someone.write("app", &flags, &app, "");
    let unit = "/home/someone/.config/systemd/user/app.service";
    host.sh(&format!("echo Restart=always >> {unit}; echo RestartSec=100ms >> {unit}"));
    someone.sh("systemctl --user daemon-reload; systemctl --user start app.service");
    assert_eq!(someone.version("app"), "v1");
    someone.sh("updater-launch exec app touch /tmp/sick");
    host.wait_until("it was started again", seconds(20), || {
        someone.property("app.service", "NRestarts") == "1"
            && someone.property("app.service", "ActiveState") == "active"
    });
    assert_eq!(someone.version("app"), "v1");
    assert_ne!(someone.run("updater-launch exec app test -e /tmp/sick").status, 0);
    someone.sh("systemctl --user stop app.service");
    assert_eq!(someone.sh("updater-launch ps --all --quiet"), "");
}

fn volumes_are_kept_and_removed(host: &Host) {
    let app = offer_image(host, &theirs());
    let someone = Someone::new(host);
    someone.sh(&format!("updater-launch pull {app}"));
    let run = "updater-launch run --rm --network none";
    someone.sh("updater-launch volume create --label a=b data");
    let look = "sh -c 'stat -c %u:%g /v/theirs; cat /v/theirs; echo more >> /v/theirs'";
    let seen = someone.sh(&format!("{run} --volume data:/srv {app} stat -c %u:%g /srv/theirs"));
    assert_eq!(seen, "1000:1001");
    assert_eq!(someone.sh(&format!("{run} -v data:/v {app} {look}")), "1000:1001\ntheirs");
    let path = someone.sh("updater-launch volume inspect --format '{{.Mountpoint}}' data");
    assert_eq!(
        host.sh(&format!("stat -c %u:%g {path}/theirs; cat {path}/theirs")),
        "100999:101000\ntheirsmore"
    );
    let mine = format!("{run} --user app -v data:/v:U {app} sh -c 'touch /v/new; stat -c %u /v'");
    assert_eq!(someone.sh(&mine), "1000");
    // What containers used goes with it, whosever it is.
    someone.launch("app", "--network none -v data:/v -v /own", &app, "");
    let refused = someone.fails(2, "updater-launch volume rm data");
    assert!(refused.stderr.contains("data"), "{}", refused.describe());
    someone.sh("updater-launch exec app sh -c 'touch /own/x; chown 5:6 /own/x'");
    assert_eq!(someone.sh("updater-launch volume ls --quiet | wc -l"), "2");
    someone.sh("updater-launch rm --force --volumes --time 0 app");
    assert_eq!(someone.sh("updater-launch volume ls --quiet"), "data");
    someone.sh("updater-launch volume rm data; updater-launch volume create other");
    assert_eq!(someone.sh("updater-launch volume prune --all --force"), "other");
    assert_eq!(host.sh(&format!("ls {STORE}/volumes; ls -A {STORE}/tmp")), "");
}

fn secrets_are_given(host: &Host) {
    let app = offer(host);
    let someone = Someone::new(host);
    someone.sh(&format!(
        "updater-launch pull {app}; printf hunter2 | updater-launch secret create db -"
    ));
    assert_eq!(host.sh(&format!("stat -c %a:%u {STORE}/secrets/db")), "600:4000");
    let run = "updater-launch run --rm --network none";
    let look = "sh -c 'cat /run/secrets/db; stat -c %u:%g:%a /run/secrets/db'";
    for (users, owner) in [
        ("", "0:0"),
        ("--user app", "1000:1001"),
        ("--userns keep-id", "4000:4000"),
        ("--userns nomap", "0:0"),
    ] {
        assert_eq!(
            someone.sh(&format!("{run} {users} --secret db {app} {look}")),
            format!("hunter2{owner}:400"),
            "{users}"
        );
    }
    let own = "--user app --secret db,uid=1000,gid=1001,mode=0400";
    for users in ["", "--userns keep-id", "--userns nomap", "--userns auto"] {
        let seen = someone.sh(&format!("{run} {users} {own} {app} {look}"));
        assert_eq!(seen, "hunter21000:1001:400", "{users}");
    }
    let seen = someone.sh(&format!("{run} --secret db,type=env,target=DB {app} sh -c 'echo $DB'"));
    assert_eq!(seen, "hunter2");
    assert_eq!(someone.sh("updater-launch secret ls --quiet | wc -l; updater-launch secret rm db > /dev/null; updater-launch secret ls --quiet"), "1");
    assert_eq!(
        host.run("grep -r hunter2 /run/user/4000 /home/someone/.local 2> /dev/null").stdout,
        ""
    );
}
