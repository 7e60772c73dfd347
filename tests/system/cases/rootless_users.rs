//! User namespaces of ordinary users' containers: who their users are outside.

use crate::host::{Host, seconds};
use crate::image::{Image, Layer};
use crate::registry::{Registry, offer_image};
use crate::someone::{STORE, Someone};

cases![
    the_calling_user_is_kept,
    the_calling_user_has_other_numbers,
    the_calling_user_is_left_out,
    maps_are_the_users_own_numbers,
    layers_are_copied_once_and_go_with_their_image,
    exec_and_starts_are_in_the_same_users,
    a_kept_users_container_has_a_network_and_ports,
    namespaces_of_others_are_shared,
    a_pod_keeps_the_calling_user,
    what_cannot_be_mapped_is_refused,
];

fn image() -> Image {
    let mut layer = Layer::new();
    layer.file_of((1000, 1001), "srv/theirs", b"theirs");
    Image::app("v1").layer(layer)
}

fn prepare(host: &Host) -> (Someone<'_>, String) {
    let app = offer_image(host, &image());
    let someone = Someone::new(host);
    someone.sh(&format!("updater-launch pull {app}"));
    (someone, app)
}

const MAPS: &str = "cat /proc/self/uid_map";

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As Podman does it, to the letter.
fn the_calling_user_is_kept(host: &Host) {
    let (someone, app) = prepare(host);
    let run = "updater-launch run --rm --network none --userns keep-id";
    let inside = |flags: &str, what: &str| someone.sh(&format!("{run} {flags} {app} {what}"));
    assert_eq!(words(&inside("", MAPS)), "0 1 4000 4000 0 1 4001 4001 61536");
    assert_eq!(inside("", "id"), "uid=4000(someone) gid=4000(someone)");
    let look = "sh -c 'tail -n 1 /etc/passwd; tail -n 1 /etc/group; echo $HOME'";
    let entries = inside("", look);
    assert_eq!(entries, "someone:*:4000:4000::/:/bin/sh\nsomeone:x:4000:someone\n/");
    let entries = inside("--workdir /srv", look);
    assert_eq!(entries, "someone:*:4000:4000::/srv:/bin/sh\nsomeone:x:4000:someone\n/srv");
    let entries = inside("--volume /home/someone:/home/someone", look);
    assert!(entries.ends_with("/home/someone"), "{entries}");
    // Whom the image or the operator names comes first; the caller's group is one more.
    let id = "uid=1000(app) gid=1001(app) groups=4000(someone),1002(extra)";
    assert_eq!(inside("--user app", "id"), id);
    assert_eq!(inside("--user root", "id"), "uid=0(root) gid=0(root) groups=4000(someone)");
    // The image's files are the container's, and what is the caller's is theirs.
    let files = "stat -c %u:%g / /bin /srv/theirs /etc/passwd /etc/hosts /dev/pts /tmp";
    assert_eq!(inside("", files), "0:0\n0:0\n1000:1001\n0:0\n0:0\n0:0\n0:0");
    someone.sh("mkdir volume; echo mine > volume/mine");
    let bound =
        inside("--volume ./volume:/v", "sh -c \"stat -c %u:%g /v /v/mine; echo x > /v/new\"");
    assert_eq!(bound, "4000:4000\n4000:4000");
    assert_eq!(host.sh("stat -c %u:%g /home/someone/volume/new"), "4000:4000");
    for denied in ["touch /new", "sh -c \"echo x > /bin/sh\"", "cat /etc/shadow /srv/theirs"] {
        assert_ne!(someone.run(&format!("{run} {app} {denied}")).status, 0, "{denied}");
    }
    // Its root is a subordinate user, who may do all this.
    let roots = "--user root --volume ./volume:/v";
    inside(roots, "sh -c \"touch /new /bin/new /v/roots; cat /srv/theirs\"");
    assert_eq!(host.sh("stat -c %u:%g /home/someone/volume/roots"), "100000:100000");
    // A volume that begins with what the image has there; the same files without keep-id.
    assert_eq!(inside("--volume data:/srv", "stat -c %u:%g /srv/theirs"), "1000:1001");
    let plain = format!("updater-launch run --rm --network none --volume data:/srv {app}");
    assert_eq!(someone.sh(&format!("{plain} stat -c %u:%g /srv/theirs")), "1001:1002");
    let image = format!("--mount type=image,source={app},target=/image");
    assert_eq!(inside(&image, "stat -c %u:%g /image/srv/theirs"), "1000:1001");
    host.write("/home/someone/secret", "hunter2");
    someone.sh("updater-launch secret create s secret");
    let secret = inside("--secret s,mode=0400,uid=4000", "sh -c \"cat /run/secrets/s; id -u\"");
    assert_eq!(secret, "hunter24000");
}

fn the_calling_user_has_other_numbers(host: &Host) {
    let (someone, app) = prepare(host);
    let run = "updater-launch run --rm --network none --userns keep-id:uid=200,gid=210";
    let inside = |flags: &str, what: &str| someone.sh(&format!("{run} {flags} {app} {what}"));
    let maps = inside("", "cat /proc/self/uid_map /proc/self/gid_map");
    assert_eq!(words(&maps), "0 1 200 200 0 1 201 201 65336 0 1 210 210 0 1 211 211 65326");
    assert_eq!(inside("", "id"), "uid=200(200) gid=210(210)");
    assert!(inside("", "cat /etc/passwd").ends_with("200:*:200:210:container user:/:/bin/sh"));
    assert!(inside("", "cat /etc/group").ends_with("210:x:210:200"));
    inside("--volume /home/someone:/v", "touch /v/made");
    assert_eq!(host.sh("stat -c %u:%g /home/someone/made"), "4000:4000");
    // Root itself: as without, but by another way.
    let zero = run.replace("uid=200,gid=210", "uid=0,gid=0");
    assert_eq!(words(&someone.sh(&format!("{zero} {app} {MAPS}"))), "0 0 1 1 1 65536");
}

fn the_calling_user_is_left_out(host: &Host) {
    let (someone, app) = prepare(host);
    let run = "updater-launch run --rm --network none --userns nomap";
    let inside = |flags: &str, what: &str| someone.sh(&format!("{run} {flags} {app} {what}"));
    assert_eq!(words(&inside("", MAPS)), "0 1 65536");
    assert_eq!(inside("", "id -u"), "0");
    let files = "stat -c %u:%g / /srv/theirs /etc/hosts /etc/resolv.conf /etc/hostname /dev/shm";
    assert_eq!(inside("", files), "0:0\n1000:1001\n0:0\n0:0\n0:0\n0:0");
    // What is the caller's is nobody's in there.
    someone.sh("mkdir -m 755 volume; echo mine > volume/mine; chmod 600 volume/mine");
    let bound = format!("{run} --volume ./volume:/v {app}");
    assert_eq!(
        someone.sh(&format!("{bound} stat -c %u:%g /v /v/mine")),
        "65534:65534\n65534:65534"
    );
    assert_ne!(someone.run(&format!("{bound} cat /v/mine")).status, 0);
    inside("--tmpfs /scratch --read-only", "touch /scratch/x /run/x /tmp/x");
    someone.launch("app", "--network none --userns nomap", &app, "");
    let init = someone.sh("updater-launch inspect --format '{{.State.Pid}}' app");
    assert_eq!(host.sh(&format!("stat -c %u:%g /proc/{init}")), "100000:100000");
    assert_eq!(someone.sh("updater-launch exec app id -u"), "0");
}

fn maps_are_the_users_own_numbers(host: &Host) {
    let (someone, app) = prepare(host);
    let run = "updater-launch run --network none";
    let map = |flags: &str| words(&someone.sh(&format!("{run} --rm {flags} {app} {MAPS}")));
    assert_eq!(map("--uidmap 0:1:2000"), "0 1 2000");
    assert_eq!(map("--uidmap 0:0:1 --uidmap 1:5:2000"), "0 0 1 1 5 2000");
    assert_eq!(map("--userns auto"), "0 1 1024");
    // Users that the map has not are nobody.
    let small = format!("{run} --rm --userns auto:size=900 {app} stat -c %u:%g /srv/theirs");
    assert_eq!(someone.sh(&small), "65534:65534");
    // Each has others, and gives them back.
    for name in ["one", "two"] {
        someone.launch(name, "--network none --userns auto", &app, "");
    }
    let of = |name: &str| words(&someone.sh(&format!("updater-launch exec {name} {MAPS}")));
    assert_eq!((of("one"), of("two")), ("0 1 1024".to_owned(), "0 1025 1024".to_owned()));
    assert_eq!(
        someone.sh("updater-launch exec two stat -c %u:%g /srv/theirs /bin"),
        "1000:1001\n0:0"
    );
    someone.sh("updater-launch rm --force --time 0 one");
    assert_eq!(map("--userns auto:size=2000"), "0 2049 2000");
    assert_eq!(map("--userns auto"), "0 1 1024");
}

fn layers_are_copied_once_and_go_with_their_image(host: &Host) {
    let registry = Registry::start(host);
    let (mut first, mut second) = (Layer::new(), Layer::new());
    for file in ["srv/gone", "srv/kept", "opt/a", "opt/b"] {
        first.file(file, 0o4755, b"x");
    }
    second.file("srv/.wh.gone", 0o644, b"");
    second.file("opt/.wh..wh..opq", 0o644, b"");
    second.file("opt/new", 0o644, b"x");
    registry.push("app:latest", &Image::app("v1").layer(first).layer(second));
    let app = registry.reference("app:latest");
    let someone = Someone::new(host);
    let run = format!("updater-launch run --rm --network none --userns keep-id {app}");
    let seen = someone.sh(&format!("{run} sh -c \"ls /srv /opt; stat -c %a:%u /srv/kept\""));
    assert_eq!(seen, "/opt:\nnew\n\n/srv:\nkept\n4755:0");
    let copies = || {
        host.sh(&format!("find {STORE}/mapped -mindepth 2 -maxdepth 2 | sort; ls -A {STORE}/tmp"))
    };
    let before = copies();
    assert_eq!(before.lines().count(), 4, "{before}");
    let stamp = || host.sh(&format!("stat -c %i {STORE}/mapped/*/*"));
    let made = stamp();
    // Several at once, and the same ones again.
    let many = format!("for i in 1 2 3 4; do {run} true & done; wait; {run} true");
    someone.sh(&many);
    assert_eq!((copies(), stamp()), (before, made));
    someone.sh(&format!("updater-launch rmi {app}"));
    assert_eq!(
        host.sh(&format!(
            "ls -A {STORE}/mapped {STORE}/layers/sha256 {STORE}/tmp | grep -v ^/ | grep . || true"
        )),
        ""
    );
    // Four at once that all have to copy.
    someone.sh(&format!("updater-launch pull {app}; {many}"));
    assert_eq!(copies().lines().count(), 4);
    // Where a copy does not fit, nothing of it stays, and the container is refused.
    host.sh(&format!(
        "rm -rf {STORE}/mapped; mount -o remount,size=$(($(du -sk /home | cut -f1) + 900))k /home"
    ));
    let full = someone.run(&format!("{run} true"));
    assert_eq!(full.status, 125, "{}", full.describe());
    assert!(full.stderr.contains("cannot copy the layer"), "{}", full.describe());
    assert_eq!(
        host.sh(&format!(
            "ls -A {STORE}/mapped/* {STORE}/tmp {STORE}/containers | grep -v ^/ | grep . || true"
        )),
        ""
    );
}

fn exec_and_starts_are_in_the_same_users(host: &Host) {
    let (someone, app) = prepare(host);
    someone.start("app", "--userns keep-id --network none", &app, "");
    let exec = |rest: &str| someone.sh(&format!("updater-launch exec {rest}"));
    let own = exec("app readlink /proc/1/ns/user");
    for flags in ["", "--privileged", "--user app", "--user 0", "--user 77:78"] {
        assert_eq!(exec(&format!("{flags} app readlink /proc/self/ns/user")), own, "{flags}");
    }
    assert_eq!(exec("app id"), "uid=4000(someone) gid=4000(someone)");
    assert_eq!(exec("--user app app id -u"), "1000");
    assert_eq!(exec("--user 0 app sh -c \"touch /made; stat -c %u /made\""), "0");
    let init = someone.sh("updater-launch inspect --format {{.State.Pid}} app");
    assert_eq!(host.sh(&format!("stat -c %u /proc/{init}")), "4000");
    let mode = someone.sh("updater-launch inspect --format {{.HostConfig.UsernsMode}} app");
    assert_eq!(mode, "private");
    someone.sh("systemctl --user stop app.service");
    assert_eq!(someone.property("app.service", "Result"), "success");
    // One that is kept has its files again, also after a crash.
    someone.launch("kept", "--userns keep-id --network none", &app, "");
    someone.sh("updater-launch exec --user 0 kept sh -c \"touch /roots /tmp/x; chown app /tmp/x\"");
    let pid = someone.sh("updater-launch inspect --format {{.State.ConmonPid}} kept");
    host.sh(&format!("kill -KILL {pid}"));
    host.wait_until("it has ended", seconds(10), || {
        someone.sh("updater-launch inspect --format {{.State.Running}} kept") == "false"
    });
    let start = "systemd-run --user --quiet --collect --unit kept -p Type=notify -p NotifyAccess=main \
                 -p Delegate=yes -p KillMode=mixed updater-launch start --attach kept";
    someone.sh(start);
    assert_eq!(someone.sh("updater-launch exec kept stat -c %u /roots /tmp/x"), "0\n1000");
    someone.sh("updater-launch restart --time 0 kept");
    assert_eq!(
        someone.sh("updater-launch exec kept stat -c %u /roots /tmp/x /srv/theirs"),
        "0\n1000\n1000"
    );
    someone.sh("updater-launch rm --force --time 0 kept");
    assert_eq!(host.sh(&format!("ls -A {STORE}/containers")), "");
}

fn a_kept_users_container_has_a_network_and_ports(host: &Host) {
    let (someone, app) = prepare(host);
    host.connect();
    let flags = "--userns keep-id --user root --cap-add NET_ADMIN --publish 8088:80";
    someone.start("web", flags, &app, "httpd -f -p 80 -h /app");
    host.wait_for("busybox wget -q -O - http://127.0.0.1:8088/version | grep v1", seconds(20));
    let inside = |what: &str| someone.sh(&format!("updater-launch exec web {what}"));
    inside("ip address add 198.51.100.7/32 dev lo");
    assert!(inside("ip address show dev lo").contains("198.51.100.7"));
    assert_eq!(inside("stat -c %u /proc/sys/net/ipv4/ip_forward"), "0");
    someone.sh("systemctl --user stop web.service");
    host.wait_for("! pgrep passt", seconds(10));
}

fn namespaces_of_others_are_shared(host: &Host) {
    let (someone, app) = prepare(host);
    for (name, flags) in [
        ("one", "--network none --userns keep-id"),
        ("two", "--network none --userns container:one --user root"),
        ("three", "--network container:one --userns container:one --user root"),
        ("plain", "--network none"),
        ("four", "--network container:plain --userns keep-id"),
    ] {
        someone.launch(name, flags, &app, "");
    }
    let look = |name: &str, namespace: &str| {
        someone.sh(&format!("updater-launch exec {name} readlink /proc/self/ns/{namespace}"))
    };
    assert_eq!(look("two", "user"), look("one", "user"));
    assert_ne!(look("two", "net"), look("one", "net"));
    assert_eq!(look("three", "user"), look("one", "user"));
    assert_eq!(look("three", "net"), look("one", "net"));
    assert_ne!(look("four", "user"), look("plain", "user"));
    assert_eq!(look("four", "net"), look("plain", "net"));
    assert_eq!(
        someone.sh("updater-launch exec three stat -c %u:%g /srv/theirs /bin"),
        "1000:1001\n0:0"
    );
    someone.sh("updater-launch rm --force --time 0 four three two one plain");
}

fn a_pod_keeps_the_calling_user(host: &Host) {
    let (someone, app) = prepare(host);
    someone.sh("updater-launch pod create --name duo --network none --userns keep-id");
    someone.sh("systemd-run --user --quiet --collect --unit duo -p Type=forking -p Delegate=yes \
         updater-launch pod start duo");
    someone.launch("one", "--pod duo", &app, "");
    someone.launch("two", "--pod duo --user app", &app, "");
    let look = |name: &str, what: &str| someone.sh(&format!("updater-launch exec {name} {what}"));
    assert_eq!(look("one", "id"), "uid=4000(someone) gid=4000(someone)");
    assert_eq!(look("two", "id -u"), "1000");
    for namespace in ["user", "net", "ipc", "uts"] {
        let link = format!("readlink /proc/self/ns/{namespace}");
        assert_eq!(look("one", &link), look("two", &link), "{namespace}");
    }
    assert_eq!(look("one", "stat -c %u:%g:%a /dev/shm"), "0:0:1777");
    look("one", "touch /dev/shm/x");
    assert_eq!(look("two", "stat -c %u /dev/shm/x"), "4000");
    let refused = format!("updater-launch run --rm --pod duo --userns nomap {app} true");
    let refused = someone.fails(125, &refused);
    assert!(refused.stderr.contains("cannot be set together"), "{}", refused.describe());
    someone.sh("updater-launch pod rm --force duo");
    assert_eq!(someone.sh("updater-launch ps --all --quiet; updater-launch pod ps --quiet"), "");
}

fn what_cannot_be_mapped_is_refused(host: &Host) {
    let (someone, app) = prepare(host);
    let refused = |flags: &str, why: &str| {
        let run = format!("updater-launch run --rm --network none {flags} {app} true");
        let outcome = someone.fails(125, &run);
        assert!(outcome.stderr.contains(why), "{flags}: {}", outcome.describe());
    };
    refused("--userns keep-id:size=1", "neither uid=N nor gid=N");
    refused("--userns keep-id --uidmap 0:1:2", "exclude each other");
    refused("--userns keep-id --user 70000", "user 70000 of the container is not in the map");
    refused("--userns auto:size=65537", "make the range longer");
    refused("--uidmap 0:1:1000 --user app", "user 1000 of the container is not in the map");
    refused("--subuidname someone", "root's");
    refused("--userns ns:/proc/self/ns/user", "no user namespace can be had");
    refused("--userns keep-id --volume /home/someone:/v:idmap", "idmap is root's");
    host.sh("echo other:100000:65536 > /etc/subuid");
    refused("--userns nomap", "/etc/subuid has no range for someone");
    assert_eq!(host.sh(&format!("ls -A {STORE}/containers")), "");
}
